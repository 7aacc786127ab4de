"""Examples as the model reads them: token ids, and which of them it learns to say."""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from itertools import groupby, pairwise
from typing import Any

from llm_app.data.types import BadRow, Example, Note
from llm_app.engine.template import ChatTemplate
from llm_app.errors import UserError
from llm_app.training.rendered import Habits, Span, render


@dataclass(frozen=True)
class Encoded:
    """One example. `trained[i]`: token i is a target; the first token never is. `n_cut` tokens were cut off its end.

    `n_masked`: answers before the last that should be trained and cannot be: the chat template asks for an answer in
    words that stand before no earlier one, such as the beginning of the reasoning.
    """

    ids: list[int]
    trained: list[bool]
    n_cut: int = 0
    n_masked: int = 0

    @property
    def n_trained(self) -> int:
        """Tokens that the loss is taken on."""
        return sum(self.trained)


def encode(
    example: Example, tokenizer: Any, *, max_length: int, responses_only: bool, now: datetime | None = None
) -> Encoded:
    """What the model sees of an example, token by token what the chat would show it.

    With `responses_only` the trained tokens are those of the answers that the example trains, each with the token that
    ends its turn; what follows the last of them is left out. Otherwise all but the first. Raw text gets the special
    tokens that the tokenizer adds, and its end. A text that is longer than `max_length` loses its end: what is left is
    then the beginning of what the model would see. `now`: the date that a template may write, default today.
    Raises: UserError if the chat template does not take the conversation.
    """
    whole = _whole(example, tokenizer, responses_only, now)
    n_cut = max(0, len(whole.ids) - max_length)
    return replace(whole, ids=whole.ids[:max_length], trained=whole.trained[:max_length], n_cut=n_cut)


def encode_all(
    example: Example, tokenizer: Any, *, max_length: int, responses_only: bool, now: datetime | None = None
) -> tuple[Encoded, ...]:
    """As `encode`, but of plain text nothing is cut off: what is longer becomes pieces of at most `max_length` tokens.

    A piece begins with the last token of the one before, so that every token but the first is a target, and once.
    """
    if example.turns or example.prompt:  # without its question an answer would be another lesson
        return (encode(example, tokenizer, max_length=max_length, responses_only=responses_only, now=now),)
    whole = _whole(example, tokenizer, responses_only, now)
    pieces = (slice(at, at + max_length) for at in range(0, max(1, len(whole.ids) - 1), max_length - 1))
    return tuple(
        Encoded(whole.ids[piece], [place > 0 and learns for place, learns in enumerate(whole.trained[piece])])
        for piece in pieces
    )


def _whole(example: Example, tokenizer: Any, responses_only: bool, now: datetime | None) -> Encoded:
    """All of it, however long."""
    reader = _reader(tokenizer, str(tokenizer.chat_template))
    rendered = render(example, reader.template, reader.habits, reader.added, now)
    text, answers = rendered.text, rendered.answers
    if responses_only and answers:
        text = text[: answers[-1][1]]
    ids, trained = reader.tokens(text, answers, adds_special=reader.template is None or not example.turns)
    end = tokenizer.eos_token_id
    if rendered.is_open and end is not None and ids[-1:] != [end]:
        ids, trained = [*ids, end], [*trained, True]
    if not responses_only:
        trained = [token != tokenizer.bos_token_id or token == end for token in ids]
    trained[:1] = [False] * len(trained[:1])  # nothing stands before it that it could follow from
    return Encoded(ids, trained, n_masked=rendered.n_masked if responses_only else 0)


def told_of_masked(examples: Sequence[Encoded]) -> Iterator[Note]:
    """What to tell of answers that are not trained though they should be."""
    if n := sum(example.n_masked for example in examples):
        yield Note(
            f"{n:,} answers before the last of their conversation are not trained: this model's chat template begins an"
            " answer with its reasoning, which earlier answers do not have.",
            f"有 {n:,} 个非末轮回答不参与训练：该模型的对话模板以思考过程开头，而先前的回答没有思考过程。",
        )


def hides_tools(tokenizer: Any) -> bool:
    """Whether the chat template leaves out the tools that an example names."""
    return not _reader(tokenizer, str(tokenizer.chat_template)).habits.shows_tools


def check_trainable(examples: Sequence[Encoded], max_length: int, bad_rows: Sequence[BadRow] = ()) -> None:
    """Refuse data from which nothing can be learned; `bad_rows` became no examples.

    Raises: UserError with the counts.
    """
    left_out = f" {told_of_left_out(bad_rows)}" if bad_rows else ""
    if len(examples) < 2:
        number = "There is no example" if not examples else "There is 1 example"
        raise UserError(f"{number} to train on; it takes at least 2.{left_out}", param="data")
    n_cut = sum(example.n_cut > 0 for example in examples)
    if n_cut == len(examples):
        shortest = min(len(example.ids) + example.n_cut for example in examples)
        raise UserError(
            f"All {n_cut:,} examples are longer than the cut-off length of {max_length:,} tokens; the shortest has"
            f" {shortest:,}. Raise max_length or shorten the examples.{left_out}", param="max_length",
        )  # fmt: skip
    if not any(example.n_trained for example in examples):
        cut = f" {n_cut:,} are cut off before their answer." if n_cut else ""
        raise UserError(
            f"None of the {len(examples):,} examples has a token to learn from: their answers are empty, marked as not"
            f" trained, or missing.{cut}{left_out}", param="data",
        )  # fmt: skip


def told_of_left_out(bad_rows: Sequence[BadRow]) -> str:
    """How many rows became no example, and what is wrong with the first one."""
    first = bad_rows[0]
    where = f"line {first.origin.line} of {first.origin.dataset}"
    return f"{len(bad_rows):,} rows are left out; {where}: {first.reason.rstrip('.')}."


def spans(encoded: Encoded, tokenizer: Any) -> list[tuple[str, bool]]:
    """The example as text, in runs of tokens that are trained or not."""
    runs, ids, shown = [], [], ""
    for is_trained, group in groupby(zip(encoded.ids, encoded.trained, strict=True), key=lambda pair: pair[1]):
        # Decoded with all that stands before: a tokenizer may drop the space before a first word.
        ids += [token for token, _ in group]
        text = str(tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False))
        runs.append((text[len(shown) :], is_trained))
        shown = text
    return runs


@lru_cache(maxsize=4)
def _reader(tokenizer: Any, source: str) -> "_Reader":
    """`source`: the chat template's, since another may be put into the same tokenizer."""
    return _Reader(tokenizer)


class _Reader:
    """A tokenizer with its template, and what is found out about them once."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self.template = ChatTemplate.of(tokenizer)
        if not tokenizer.is_fast:
            raise UserError("This model cannot be trained here: its tokenizer does not say where a token begins.")
        added = tokenizer.get_added_vocab()
        self.added = tuple(token for token in added if token and not token.isspace())
        self._added_ids = frozenset(added[token] for token in self.added)
        self.habits = Habits.of(self.template, self.added) if self.template else Habits()

    def tokens(self, text: str, answers: Sequence[Span], *, adds_special: bool) -> tuple[list[int], list[bool]]:
        """Token ids of the text, and whether each begins within an answer."""
        ids, starts = self._ids(text, adds_special)
        # Where the chat stops to wait for an answer, a token ends; here it may go on into the answer.
        cuts = [
            start for start, _ in answers
            if 0 < start < len(text) and not self._ends_at(text, start, ids, starts, adds_special=adds_special)
        ]  # fmt: skip
        if cuts:
            ids, starts = self._in_pieces(text, cuts, adds_special)
        trained, left = [], iter([*answers, (len(text) + 1, len(text) + 1)])
        start, end = next(left)
        for at in starts:
            while at >= end:
                start, end = next(left)
            trained.append(start <= at < end)
        return ids, trained

    def _ends_at(
        self, text: str, at: int, ids: Sequence[int], starts: Sequence[int], *, adds_special: bool
    ) -> bool:
        """Whether the text before this character has the same tokens with and without what follows."""
        n = bisect_left(starts, at)
        # Nothing before an added token changes what comes after it; mostly a short header is left to compare.
        first = next((i for i in range(n - 1, 0, -1) if ids[i] in self._added_ids), None)
        if first is None:
            return ids[:n] == self._ids(text[:at], adds_special)[0]
        return ids[first:n] == self._ids(text[starts[first] : at], adds_special=False)[0]

    def _in_pieces(self, text: str, cuts: Sequence[int], adds_special: bool) -> tuple[list[int], list[int]]:
        """As `_ids`, with a token ending at each cut."""
        ids, starts = self._ids(text[: cuts[0]], adds_special)
        for start, end in pairwise([*cuts, len(text)]):
            # After a line, so that no tokenizer takes the piece for the beginning of a text and puts a space before it.
            more, begins = self._ids("\n" + text[start:end], adds_special=False)
            line = self._ids("\n", adds_special=False)[0]
            if more[: len(line)] == line:
                more, begins = more[len(line) :], [begin - 1 for begin in begins[len(line) :]]
            else:
                more, begins = self._ids(text[start:end], adds_special=False)
            ids, starts = [*ids, *more], [*starts, *(start + begin for begin in begins)]
        return ids, starts

    def _ids(self, text: str, adds_special: bool) -> tuple[list[int], list[int]]:
        """Token ids, and the character at which each begins; an end that the tokenizer adds is left out."""
        encoded = self._tokenizer(text, add_special_tokens=adds_special, return_offsets_mapping=True)
        ids, offsets = list(encoded["input_ids"]), encoded["offset_mapping"]
        n = len(ids)
        while adds_special and text and n > 1 and offsets[n - 1] == (0, 0):
            n -= 1
        return ids[:n], [start for start, _ in offsets[:n]]
