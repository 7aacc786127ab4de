"""Tokens to text, piece by piece: never half a character, never part of a stop string."""

from collections.abc import Sequence
from functools import cached_property

from transformers import PreTrainedTokenizerBase

BROKEN = "\ufffd"
WINDOW = 6  # tokens at least that are re-read with the new ones: some tokenizers write spaces by what stands before
MOST_REREAD = 24


class TextStream:
    """Text of a growing list of tokens.

    The pieces that `push` and `finish` give, put together, are the text of all tokens, cut before the first stop
    string. `is_stopped` tells whether one was met. `before`: tokens whose text is known already, such as the prompt's.
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, stop: Sequence[str] = (), before: Sequence[int] = ()
    ) -> None:
        self.is_stopped = False
        self._tokenizer = tokenizer
        self._stop = tuple(stop)
        # SentencePiece drops the space of a first token: the tokens before it show that it is not the first.
        self._ids = list(before[-WINDOW:])  # the last ones
        if self._decode().endswith(BROKEN):
            self._ids.clear()
        self._known = self._decode()  # text of these tokens, which was given
        self._held = ""  # text that may turn out to begin a stop string

    def push(self, token_ids: Sequence[int]) -> str:
        """Text that is now certain."""
        self._ids.extend(token_ids)
        text = self._decode()
        if text.endswith(BROKEN):
            return ""  # inside a character: wait for its other bytes
        return self._release(self._advance(text))

    def finish(self) -> str:
        """What is left; bytes of an unfinished character are dropped."""
        if self.is_stopped:
            return ""
        released = self._release(self._advance(self._decode().rstrip(BROKEN)))
        rest = "" if self.is_stopped else self._held
        self._held = ""
        return released + rest

    def _advance(self, text: str) -> str:
        """What a text has more than was known; of the tokens behind it, the first are forgotten now and then."""
        new = text[len(self._known) :]
        if len(self._ids) > MOST_REREAD:
            del self._ids[:-WINDOW]
            text = self._decode()
        self._known = text
        return new

    def _decode(self) -> str:
        return str(self._tokenizer.decode(self._ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def _release(self, new: str) -> str:
        if self.is_stopped:
            return ""
        text = self._held + new
        found = [at for at in (text.find(stop) for stop in self._stop) if at >= 0]
        if found:
            self.is_stopped, self._held = True, ""
            return text[: min(found)]
        held = max((n for stop in self._stop for n in range(1, len(stop)) if text.endswith(stop[:n])), default=0)
        self._held = text[len(text) - held :] if held else ""
        return text[: len(text) - held] if held else text


class TokenBytes:
    """The bytes that each token stands for, also where it ends inside a character."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer

    def __call__(self, token_id: int) -> bytes:
        """Bytes of one token; its plain text for tokenizers that are not byte-level."""
        piece = self._tokenizer.convert_ids_to_tokens(token_id)
        if piece is None:
            return b""
        if self._is_byte_level and all(char in self._byte_of for char in piece):
            return bytes(self._byte_of[char] for char in piece)
        if len(piece) == 6 and piece.startswith("<0x") and piece.endswith(">"):
            return bytes([int(piece[3:5], 16)])  # SentencePiece's byte fallback
        return str(piece).replace("\u2581", " ").encode()

    @cached_property
    def _is_byte_level(self) -> bool:
        backend = getattr(self._tokenizer, "backend_tokenizer", None)
        return backend is not None and "ByteLevel" in str(backend.decoder)

    @cached_property
    def _byte_of(self) -> dict[str, int]:
        # GPT-2's alphabet: printable Latin-1 stands for itself, the other bytes follow from U+0100 on.
        printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
        table = {chr(byte): byte for byte in printable}
        others = [byte for byte in range(256) if byte not in printable]
        return table | {chr(0x100 + i): byte for i, byte in enumerate(others)}
