"""How much goes through the model at once, and less of it where memory is short."""

from dataclasses import dataclass

TOKENS = 1024  # of a scoring pass: as fast as larger ones, and a chat waits no longer than for this
REPLIES = 16  # of an evaluation, decoded together from the first step to the last
LEAST_TOKENS = 16


@dataclass
class Room:
    """What one pass may hold; halved for the rest of a run when memory does not suffice, so that it fails only once.

    `tokens`: of a scoring pass; `replies`: decoded together.
    """

    tokens: int = TOKENS
    replies: int = REPLIES

    @property
    def is_short(self) -> bool:
        """Whether memory did not suffice for the whole."""
        return self.tokens < TOKENS or self.replies < REPLIES

    def take_fewer_tokens(self, n_failed: int) -> bool:
        """Half of what failed, from now on; False where that would be too little to go on with."""
        tokens = min(self.tokens, n_failed) // 2
        if tokens < LEAST_TOKENS:
            return False
        self.tokens = tokens
        return True

    def take_fewer_replies(self, n_failed: int) -> bool:
        """Half as many at once, from now on; False where a single one failed."""
        if n_failed < 2:
            return False
        self.replies = min(self.replies, n_failed) // 2 or 1
        return True
