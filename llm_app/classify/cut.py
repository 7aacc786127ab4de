"""What stays of two texts that are too long together. No third-party imports."""


def kept_of_pair(n_first: int, n_second: int, room: int) -> tuple[int, int]:
    """How many tokens of each text stay: the longer one is cut first, and either keeps half of the room if it needs it.

    Source: the strategy "longest_first" of Hugging Face's tokenizers, to the token.
    """
    if n_first + n_second <= room:
        return n_first, n_second
    shorter = min(n_first, n_second, room // 2)
    return (room - shorter, shorter) if n_first > n_second else (shorter, room - shorter)
