"""Pairs of a better and a worse answer as the model reads them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from llm_app.data.types import BadRow, Example
from llm_app.errors import UserError
from llm_app.training.encode import Encoded, encode, told_of_left_out

NO_WORSE = ("It has no worse answer to compare with.", "没有可供比较的较差回答。")


@dataclass(frozen=True)
class Pair:
    """One question with two answers, as tokens; the answers end as the chat template ends them."""

    prompt_ids: list[int]
    chosen_ids: list[int]
    rejected_ids: list[int]
    n_cut: int = 0  # tokens cut off the ends of the two

    @property
    def ids(self) -> list[int]:
        """All tokens that pass through the model for it."""
        return [*self.prompt_ids, *self.chosen_ids, *self.prompt_ids, *self.rejected_ids]

    @property
    def trained(self) -> list[bool]:
        """The loss is a mean over pairs, not over tokens: a pair that says anything is one target."""
        return [False, bool(self.prompt_ids) and self.chosen_ids != self.rejected_ids]

    @property
    def n_padded(self) -> int:
        """Places that its two texts take side by side: each is filled up to the longer one."""
        return 2 * (len(self.prompt_ids) + max(len(self.chosen_ids), len(self.rejected_ids)))

    @property
    def n_answers(self) -> int:
        """Tokens of both answers."""
        return len(self.chosen_ids) + len(self.rejected_ids)


def encode_pair(example: Example, tokenizer: Any, *, max_length: int, now: datetime | None = None) -> Pair:
    """The pair of an example that has a worse answer (`rejected`), each text cut to `max_length` tokens.

    `now`: the date that a template may write, default today.
    Raises: UserError if it has none, or the chat template does not take the conversation.
    """
    if example.rejected is None:
        raise UserError(NO_WORSE[0])
    chosen, rejected = (
        encode(each, tokenizer, max_length=max_length, responses_only=True, now=now)
        for each in _both(example, example.rejected)
    )
    n_prompt = min(_start(chosen), _start(rejected))
    # A template may write what it knows about an answer before it; then the answers begin where the texts part.
    n_prompt = min(n_prompt, _n_common(chosen.ids, rejected.ids)) if chosen.ids != rejected.ids else n_prompt
    return Pair(
        chosen.ids[:n_prompt], chosen.ids[n_prompt:], rejected.ids[n_prompt:], chosen.n_cut + rejected.n_cut
    )


def check_pairs(pairs: Sequence[Pair], bad_rows: Sequence[BadRow] = ()) -> None:
    """Refuse pairs from which nothing can be learned; `bad_rows` became none.

    Raises: UserError with the counts.
    """
    left_out = f" {told_of_left_out(bad_rows)}" if bad_rows else ""
    if not pairs:
        raise UserError(f"There is no pair of a better and a worse answer to learn from.{left_out}", param="data")
    if not any(any(pair.trained) for pair in pairs):
        raise UserError(
            f"None of the {len(pairs):,} pairs can be learned from: the answers are equal, empty or cut off.{left_out}",
            param="data",
        )


def _both(example: Example, worse: str) -> tuple[Example, Example]:
    """The example with only its last answer trained, and the same with the worse answer in its place."""
    if not example.turns:
        return example, replace(example, completion=worse)
    *before, last = example.turns
    before = [replace(turn, is_trained=False) for turn in before]
    return (
        replace(example, turns=(*before, replace(last, is_trained=True))),
        # What came with the better answer, such as its tool calls, is not the worse one's.
        replace(example, turns=(*before, replace(last, content=worse, is_trained=True, extra={}))),
    )


def _start(encoded: Encoded) -> int:
    return encoded.trained.index(True) if True in encoded.trained else len(encoded.ids)


def _n_common(a: Sequence[int], b: Sequence[int]) -> int:
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
