"""The examples of a part as the model sees them: the plan counts the very tokens that the run then learns from."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from llm_app.data.types import BadRow, Example, Note
from llm_app.errors import UserError
from llm_app.training.config import TrainConfig
from llm_app.training.encode import Encoded, check_trainable, encode_all
from llm_app.training.pairs import NO_WORSE, Pair, check_pairs, encode_pair

Tokens = Encoded | Pair
SAME = (
    "its two answers are the same, empty, or cut off before they differ",
    "两个回答相同、为空，或在出现差异之前已被截断",
)


@dataclass(frozen=True)
class Seen:
    """An example as the model sees it: plain text beyond the cut-off length in several pieces, all else in one."""

    example: Example
    pieces: tuple[Tokens, ...]


@dataclass(frozen=True)
class Part:
    """What becomes of the examples of one part of the split."""

    seen: tuple[Seen, ...]
    bad_rows: tuple[BadRow, ...]

    @property
    def examples(self) -> list[Example]:
        """Those that became tokens."""
        return [seen.example for seen in self.seen]

    @property
    def tokens(self) -> tuple[Tokens, ...]:
        """One after the other; the pieces of a text count like examples."""
        return tuple(piece for seen in self.seen for piece in seen.pieces)


def read_part(
    examples: Sequence[Example], tokenizer: Any, config: TrainConfig, max_length: int, now: datetime | None
) -> Part:
    """Pairs, where preferences are learned; an example that cannot be learned from joins the bad rows.

    `now`: the date that a template may write, default today.
    """
    made: dict[int, Seen | BadRow] = {}  # by id(): a weight repeats an example as the same object
    for example in examples:
        if id(example) not in made:
            made[id(example)] = _seen(example, tokenizer, config, max_length, now)
    return Part(
        tuple(seen for example in examples if isinstance(seen := made[id(example)], Seen)),
        tuple(row for row in made.values() if isinstance(row, BadRow)),
    )


def _seen(
    example: Example, tokenizer: Any, config: TrainConfig, max_length: int, now: datetime | None
) -> Seen | BadRow:
    try:
        if config.objective != "dpo":
            only = config.responses_only
            return Seen(example, encode_all(example, tokenizer, max_length=max_length, responses_only=only, now=now))
        if example.rejected is None:
            return BadRow(example.origin, *NO_WORSE)
        pair = encode_pair(example, tokenizer, max_length=max_length, now=now)
        return Seen(example, (pair,)) if any(pair.trained) else BadRow(example.origin, *SAME)
    except UserError as error:
        return BadRow(example.origin, error.message, f"对话模板不接受这个样本：{error.message}")


def check_learnable(
    train: Part, config: TrainConfig, max_length: int, bad_rows: Sequence[BadRow]
) -> None:
    """Raises: UserError with the counts if nothing can be learned from it; `bad_rows`: of all parts and the files."""
    if config.objective == "dpo":
        check_pairs([each for each in train.tokens if isinstance(each, Pair)], bad_rows)
    else:
        check_trainable([each for each in train.tokens if isinstance(each, Encoded)], max_length, bad_rows)


def told_of_pieces(parts: Sequence[Part], max_length: int) -> Iterator[Note]:
    """What to tell of texts that are longer than the cut-off length."""
    n_pieces = [len(seen.pieces) for part in parts for seen in part.seen if len(seen.pieces) > 1]
    if n_pieces:
        yield Note(
            f"{len(n_pieces):,} texts are longer than {max_length:,} tokens and are learned whole: in {sum(n_pieces):,}"
            " pieces, which are counted like examples.",
            f"有 {len(n_pieces):,} 段文本超过 {max_length:,} 个词元，将完整学习："
            f"分成 {sum(n_pieces):,} 块，每块按一个样本计数。",
        )
