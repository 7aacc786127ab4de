"""Which forward passes answer many scoring requests.

What prompts share is read once, on two levels: a base that all rows of a batch start with (few-shot examples), and
stems (the context of one question's choices). Rows of like length go together. The plan depends on the requests alone,
so that the same requests always meet the same batches, and give the same numbers to the last bit.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

Request = tuple[Sequence[int], Sequence[int]]  # token ids of context and continuation

LEAST_BASE_ROWS, LEAST_BASE_TOKENS = 8, 64  # below, a pass of its own costs more than it saves
LEAST_STEM_TOKENS = 4
LEAST_PASS_TOKENS = 256  # a pass is not cut short to avoid padding before it has as many


@dataclass(frozen=True)
class Reader:
    """A request: the log-probabilities of `targets` after the positions from `start` on are its answer."""

    index: int
    start: int
    targets: tuple[int, ...]


@dataclass(frozen=True)
class Leaf:
    """One input and all requests that are read off it."""

    ids: tuple[int, ...]
    readers: tuple[Reader, ...]

    @property
    def n_free(self) -> int:
        """Tokens before the first position that is read; they may be computed elsewhere."""
        return min(reader.start for reader in self.readers)


@dataclass(frozen=True)
class Stem:
    """Leaves that begin with the same `n_shared` tokens."""

    n_shared: int
    leaves: tuple[Leaf, ...]

    @property
    def ids(self) -> tuple[int, ...]:
        """The shared tokens."""
        return self.leaves[0].ids[: self.n_shared]


@dataclass(frozen=True)
class Batch:
    """Stems that go through the model together; all begin with the same `n_base` tokens.

    Either every stem is longer than the base, or none is.
    """

    n_base: int
    stems: tuple[Stem, ...]

    @property
    def base(self) -> tuple[int, ...]:
        """The tokens that all rows begin with."""
        return self.stems[0].ids[: self.n_base]

    @property
    def indices(self) -> Iterator[int]:
        """The requests that it answers."""
        return (reader.index for stem in self.stems for leaf in stem.leaves for reader in leaf.readers)

    def halves(self) -> tuple["Batch", "Batch"] | None:
        """The same work in two batches; None if it is a single row."""
        if len(self.stems) > 1:
            middle = len(self.stems) // 2
            return Batch(self.n_base, self.stems[:middle]), Batch(self.n_base, self.stems[middle:])
        (stem,) = self.stems
        if len(stem.leaves) == 1:
            return None
        middle = len(stem.leaves) // 2
        first, second = Stem(stem.n_shared, stem.leaves[:middle]), Stem(stem.n_shared, stem.leaves[middle:])
        return Batch(self.n_base, (first,)), Batch(self.n_base, (second,))


def plan(
    requests: Sequence[Request], *, n_context: int, budget_tokens: int, max_positions: int
) -> list[Batch]:
    """Batches of at most `budget_tokens` per pass, whose keys and values take at most `max_positions`.

    A request that is longer than the context loses tokens on the left. Only a single row may exceed the budget.
    """
    leaves = sorted(_leaves(requests, n_context), key=lambda leaf: leaf.ids)
    batches: list[Batch] = []
    for n_base, family in _families(leaves):
        shared: list[Stem] = []
        single: list[Stem] = []
        for run, n_shared in _runs(family, n_base, LEAST_STEM_TOKENS):
            if len(run) > 1 and n_shared > n_base:
                shared += _bounded(Stem(n_shared, tuple(run)), budget_tokens, max_positions)
            else:
                single += [Stem(n_base, (leaf,)) for leaf in run]
        batches += _packed(n_base, shared, budget_tokens, max_positions)
        batches += _packed(n_base, single, budget_tokens, max_positions)
    return batches


def passes(batch: Batch, budget_tokens: int, max_positions: int) -> Iterator[list[tuple[int, Leaf]]]:
    """The rows of the last level, as (number of the stem, leaf), in passes with little padding."""
    rows = [(number, leaf) for number, stem in enumerate(batch.stems) for leaf in stem.leaves]
    shared = [stem.n_shared for stem in batch.stems]
    rows.sort(key=lambda row: -(len(row[1].ids) - shared[row[0]]))
    group: list[tuple[int, Leaf]] = []
    widest = longest = 0
    for number, leaf in rows:
        n_new, n = len(leaf.ids) - shared[number], len(group) + 1
        is_full = n * widest > budget_tokens or n * max(longest, len(leaf.ids)) > max_positions
        is_padded = len(group) * widest >= LEAST_PASS_TOKENS and n_new < 0.7 * widest
        if group and (is_full or is_padded):
            yield group
            group, widest, longest = [], 0, 0
        group.append((number, leaf))
        widest, longest = max(widest, n_new), max(longest, len(leaf.ids))
    yield group


def _leaves(requests: Sequence[Request], n_context: int) -> list[Leaf]:
    """Equal inputs are one leaf: choices of one token differ only in what is read."""
    readers: dict[tuple[int, ...], list[Reader]] = {}
    for index, (context, continuation) in enumerate(requests):
        if not context or not continuation:
            raise ValueError(f"request {index} has an empty {'context' if not context else 'continuation'}")
        if len(continuation) > n_context:
            raise ValueError(f"request {index} has a continuation longer than the context of {n_context}")
        # The last token is only predicted, never read.
        ids = (*context, *continuation)[-(n_context + 1) : -1]
        reader = Reader(index, len(ids) - len(continuation), tuple(continuation))
        # The token before the first target stands at start: its output predicts that target.
        readers.setdefault(tuple(ids), []).append(reader)
    return [Leaf(ids, tuple(found)) for ids, found in readers.items()]


def _families(leaves: list[Leaf]) -> Iterator[tuple[int, list[Leaf]]]:
    """Large sets with a long common beginning, then all the rest with none."""
    rest: list[Leaf] = []
    for run, n_shared in _runs(leaves, 0, LEAST_BASE_TOKENS):
        if len(run) >= LEAST_BASE_ROWS and n_shared >= LEAST_BASE_TOKENS:
            yield n_shared, run
        else:
            rest += run
    if rest:
        yield 0, rest


def _runs(leaves: list[Leaf], floor: int, least: int) -> Iterator[tuple[list[Leaf], int]]:
    """Neighbours that share at least `least` tokens beyond `floor`, and no less than half of what fewer would."""
    if not leaves:
        return
    run, n_shared = [leaves[0]], leaves[0].n_free
    for leaf in leaves[1:]:
        both = min(n_shared, leaf.n_free, _n_common(run[-1].ids, leaf.ids))
        if both - floor >= max(least, (n_shared - floor) // 2):
            run.append(leaf)
            n_shared = both
        else:
            yield run, n_shared
            run, n_shared = [leaf], leaf.n_free
    yield run, n_shared


def _n_common(a: Sequence[int], b: Sequence[int]) -> int:
    # Halving compares slices in C; prompts share hundreds of tokens.
    low, high = 0, min(len(a), len(b))
    while low < high:
        middle = (low + high + 1) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _bounded(stem: Stem, budget_tokens: int, max_positions: int) -> Iterator[Stem]:
    """The stem, cut where its leaves alone would fill more than one batch."""
    most = max(len(leaf.ids) for leaf in stem.leaves)
    tail = most - stem.n_shared
    n = max(1, min(budget_tokens // tail, max_positions // most))
    for start in range(0, len(stem.leaves), n):
        yield Stem(stem.n_shared, stem.leaves[start : start + n])


def _packed(n_base: int, stems: list[Stem], budget_tokens: int, max_positions: int) -> Iterator[Batch]:
    """Long ones first, so that memory that does not suffice shows at once."""
    by_length = sorted(stems, key=lambda stem: -max(len(leaf.ids) for leaf in stem.leaves))
    kept: list[Stem] = []
    n_widest = n_longest = n_read = 0
    for stem in by_length:
        n_own = stem.n_shared - n_base
        n_tails = sum(len(leaf.ids) - stem.n_shared for leaf in stem.leaves)
        n = len(kept) + 1
        is_over = (
            n * max(n_widest, n_own) > budget_tokens
            or n_read + n_tails > budget_tokens
            or n * max(n_longest, stem.n_shared) > max_positions
        )
        if kept and is_over:
            yield Batch(n_base, tuple(kept))
            kept, n_widest, n_longest, n_read = [], 0, 0, 0
        kept.append(stem)
        n_widest, n_longest, n_read = max(n_widest, n_own), max(n_longest, stem.n_shared), n_read + n_tails
    if kept:
        yield Batch(n_base, tuple(kept))
