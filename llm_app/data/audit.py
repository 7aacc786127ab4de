"""What is wrong with a data set before anything is trained on it: repeated, empty, too long, taken from a benchmark."""

import re
import unicodedata
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llm_app.data.types import Example, Origin

LENGTHS = (8, 13)  # words; 13 is GPT-3's rule, 8 that of PaLM and Llama 2
_FACTOR = np.uint64(0x9E3779B97F4A7C15)  # odd, so that no place in a row is lost

# Characters that are words by themselves: Chinese, and Japanese kana, which nothing separates either.
_CHARACTER = "[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af]"
_ALONE, _BETWEEN = re.compile(_CHARACTER), re.compile(f"(?<={_CHARACTER}) (?={_CHARACTER})")
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class BenchmarkRow:
    """One row of a benchmark, as the texts that stand in its fields."""

    benchmark: str
    sample: int
    texts: tuple[str, ...]


@dataclass(frozen=True)
class Leak:
    """An example that shares `n` words in a row with a row of a benchmark; of several rows, the first."""

    example: int  # its place in the list
    origin: Origin
    benchmark: str
    sample: int
    n: int  # 13, or 8 where it shares no 13
    shared: str  # the words, as they were compared


@dataclass(frozen=True)
class Audit:
    """Places of examples in the list. `checked`: benchmark -> its rows, and how many are too short to be found."""

    n_examples: int
    duplicates: tuple[tuple[int, int], ...]  # (a repetition, what it repeats)
    empty: tuple[int, ...]  # nothing is said in any trained answer
    over_long: tuple[int, ...]
    leaks: tuple[Leak, ...]
    checked: Mapping[str, tuple[int, int]]

    def n_leaked(self, n: int = LENGTHS[0]) -> int:
        """Examples that share at least so many words with some benchmark."""
        return len({leak.example for leak in self.leaks if leak.n >= n})


def audit(examples: Sequence[Example], rows: Iterable[BenchmarkRow] = (), *, n_cut: Sequence[int] = ()) -> Audit:
    """Look through the examples. `n_cut`: tokens of each that were cut off; without it none is too long."""
    leaks, checked = overlaps(examples, rows)
    return Audit(
        len(examples), tuple(duplicates(examples)),
        tuple(number for number, example in enumerate(examples) if is_empty(example)),
        tuple(number for number, n in enumerate(n_cut) if n), tuple(leaks), checked,
    )  # fmt: skip


def duplicates(examples: Sequence[Example]) -> Iterator[tuple[int, int]]:
    """(a repetition, the first of its kind) for examples whose content is the same."""
    first: dict[str, int] = {}
    for number, example in enumerate(examples):
        before = first.setdefault(example.digest(), number)
        if before != number:
            yield number, before


def is_empty(example: Example) -> bool:
    """Whether its trained answers hold nothing but space and punctuation."""
    if not example.turns:
        return not _says_something(example.completion)
    return not any(turn.extra or _says_something(turn.content) for turn in example.turns if turn.is_trained)


def _says_something(text: str) -> bool:
    # Punctuation, separators and control characters say nothing; an emoji or a plus sign is a symbol and does.
    return any(unicodedata.category(character)[0] not in "PZC" for character in text)


def words(text: str) -> list[str]:
    """The words that are compared: letters and digits without case, every Chinese character by itself."""
    if text.isascii():
        return _WORD.findall(text.lower())
    return _WORD.findall(_ALONE.sub(r" \g<0> ", unicodedata.normalize("NFKC", text).casefold()))


def overlaps(
    examples: Sequence[Example], rows: Iterable[BenchmarkRow]
) -> tuple[list[Leak], dict[str, tuple[int, int]]]:
    """Each example with the first row of each benchmark that it shares the most with; and what was looked at."""
    benchmarks: dict[str, list[BenchmarkRow]] = {}
    for row in rows:
        benchmarks.setdefault(row.benchmark, []).append(row)
    if not benchmarks:
        return [], {}
    numbers: dict[str, int] = {}
    said = _Said([texts_of(example) for example in examples], numbers)
    asked = {name: _Said([row.texts for row in own], numbers) for name, own in benchmarks.items()}
    values = np.random.default_rng(0).integers(2**64, size=len(numbers) + 1, dtype=np.uint64)
    found: dict[tuple[int, str], Leak] = {}
    for n in LENGTHS:  # the longer one last: it goes before
        runs = said.runs(n, values).in_order()
        for name, own in benchmarks.items():
            for number, row_number, start in said.shared_with(asked[name], runs, asked[name].runs(n, values)):
                sample, shared = own[row_number].sample, said.shown(start, n)
                found[number, name] = Leak(number, examples[number].origin, name, sample, n, shared)
    checked = {name: (len(own), len(own) - asked[name].n_with(LENGTHS[0])) for name, own in benchmarks.items()}
    return [found[key] for key in sorted(found)], checked


def sharing(texts: Iterable[Sequence[str]], others: Iterable[Sequence[str]], n: int = LENGTHS[-1]) -> list[int]:
    """Which of the `texts`, each in its parts, share n words in a row with any of the `others`."""
    numbers: dict[str, int] = {}
    here, there = _Said(texts, numbers), _Said(others, numbers)
    values = np.random.default_rng(0).integers(2**64, size=len(numbers) + 1, dtype=np.uint64)
    own, theirs = here.runs(n, values), there.runs(n, values)
    return here.owners_at(own.starts[np.isin(own.hashes, theirs.hashes)])


def alike(held: Sequence[Example], train: Sequence[Example]) -> list[int]:
    """Which of the examples held back share 13 words in a row with one that is trained on.

    System messages are not compared: whole data sets have one in common.
    """
    return sharing(map(_spoken, held), map(_spoken, train))


def _spoken(example: Example) -> tuple[str, ...]:
    return tuple(turn.content for turn in example.turns if turn.role != "system") or texts_of(example)


def texts_of(example: Example) -> tuple[str, ...]:
    """What is compared of an example: its messages, or its whole text."""
    return tuple(turn.content for turn in example.turns) or (example.prompt + example.completion,)


@dataclass(frozen=True)
class _Runs:
    """All runs of n words: where each begins, and a number for its words.

    Two of ten million runs get the same number by chance in one of 400,000 audits.
    """

    starts: NDArray[np.int64]
    hashes: NDArray[np.uint64]

    def in_order(self) -> "_Runs":
        """By their numbers; equal ones in the order of the text."""
        order = np.argsort(self.hashes, kind="stable")
        return _Runs(self.starts[order], self.hashes[order])


class _Said:
    """Texts as one row of word numbers, with a gap after each; several texts may be of one owner.

    `numbers`: word -> its number, shared by all that is compared.
    """

    def __init__(self, texts: Iterable[Sequence[str]], numbers: dict[str, int]) -> None:
        self._known, self._names = numbers, list[str]()
        row, owners = array("q"), array("q")
        for owner, parts in enumerate(texts):
            for part in parts:
                found = [numbers.setdefault(word, len(numbers) + 1) for word in words(part)]
                row.extend(found)
                row.append(0)
                owners.extend([owner] * (len(found) + 1))
        self._row, self._owners = np.array(row, dtype=np.int64), np.array(owners, dtype=np.int64)
        self._gaps = np.concatenate([[0], np.cumsum(self._row == 0)])

    def runs(self, n: int, values: NDArray[np.uint64]) -> _Runs:
        """`values`: a random number for each word."""
        starts = self._starts(n)
        hashes = np.zeros(len(starts), dtype=np.uint64)
        for place in range(n):
            hashes = hashes * _FACTOR + values[self._row[starts + place]]
        return _Runs(starts, hashes)

    def shared_with(self, asked: "_Said", own: _Runs, theirs: _Runs) -> Iterator[tuple[int, int, int]]:
        """(owner here, first owner there that shares a run with it, where here the first such run begins).

        `own`: the runs here, in order.
        """
        hashes, first = np.unique(theirs.hashes, return_index=True)
        begin, end = (np.searchsorted(own.hashes, hashes, side) for side in ("left", "right"))
        n_each = end - begin
        # The places from begin to end of every run that both have, one after the other.
        places = np.arange(n_each.sum()) + np.repeat(begin - (np.cumsum(n_each) - n_each), n_each)
        starts, rows = own.starts[places], np.repeat(asked._owners[theirs.starts[first]], n_each)
        owners = self._owners[starts]
        order = np.lexsort((starts, rows, owners))
        _, best = np.unique(owners[order], return_index=True)
        for place in order[best].tolist():
            yield int(owners[place]), int(rows[place]), int(starts[place])

    def n_with(self, n: int) -> int:
        """Owners with n words in a row."""
        return len(np.unique(self._owners[self._starts(n)]))

    def owners_at(self, starts: NDArray[np.int64]) -> list[int]:
        """Whose texts these places are in, each once."""
        return [int(owner) for owner in np.unique(self._owners[starts])]

    def shown(self, start: int, n: int) -> str:
        """The n words from there, as a person writes them."""
        self._names = self._names or list(self._known)
        return _BETWEEN.sub("", " ".join(self._names[number - 1] for number in self._row[start : start + n]))

    def _starts(self, n: int) -> NDArray[np.int64]:
        """Where n words follow without a gap."""
        return np.flatnonzero(self._gaps[n:] == self._gaps[:-n])
