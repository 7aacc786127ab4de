"""Which forward passes answer many scoring requests.

What prompts share is read once, on two levels: a base that all trees of a batch start with (few-shot examples), and
the trunk of each tree (the context of one question's choices). A pass takes whole trees, flat and without padding. The
plan depends on the requests alone, so that the same requests always meet the same batches, and give the same numbers
to the last bit.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

Request = tuple[Sequence[int], Sequence[int]]  # token ids of context and continuation

LEAST_BASE_ROWS, LEAST_BASE_TOKENS = 8, 64  # below, a pass of its own costs more than it saves
LEAST_TRUNK_TOKENS = 4
MAX_KEYS = 32_768  # that the trees of one pass attend to, the base counted for each
# Pairs of a token and a key that attention may compute for nothing, since it pads trees to the widest: as many as it
# needs, and these, which take a tenth of a second. One tree of 900 tokens and a dozen of 10 took ten times as long.
SPARE_PAIRS = 200_000


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
        """Tokens before the first position that is read."""
        return min(reader.start for reader in self.readers)


@dataclass(frozen=True)
class Tree:
    """Inputs that begin with the same `n_trunk` tokens, of which the pass finds the first `n_base` in its base."""

    n_base: int
    n_trunk: int
    leaves: tuple[Leaf, ...]

    @property
    def trunk(self) -> tuple[int, ...]:
        """What the leaves share beyond the base."""
        return self.leaves[0].ids[self.n_base : self.n_trunk]

    @property
    def size(self) -> int:
        """Tokens that are computed."""
        return self.n_trunk - self.n_base + sum(len(leaf.ids) - self.n_trunk for leaf in self.leaves)


@dataclass(frozen=True)
class Batch:
    """Trees that go through the model together; all begin with the tokens of `base`, none of which is read."""

    base: tuple[int, ...]
    trees: tuple[Tree, ...]

    @property
    def size(self) -> int:
        """Tokens that are computed beyond the base."""
        return sum(tree.size for tree in self.trees)

    @property
    def indices(self) -> Iterator[int]:
        """The requests that it answers."""
        return (reader.index for tree in self.trees for leaf in tree.leaves for reader in leaf.readers)

    def halves(self) -> tuple["Batch", "Batch"] | None:
        """The same work in two batches; None if it is a single input."""
        if len(self.trees) > 1:
            middle = len(self.trees) // 2
            return Batch(self.base, self.trees[:middle]), Batch(self.base, self.trees[middle:])
        (tree,) = self.trees
        if len(tree.leaves) == 1:
            return None
        middle = len(tree.leaves) // 2
        first = Tree(tree.n_base, tree.n_trunk, tree.leaves[:middle])
        second = Tree(tree.n_base, tree.n_trunk, tree.leaves[middle:])
        return Batch(self.base, (first,)), Batch(self.base, (second,))


def plan(requests: Sequence[Request], *, n_context: int, budget_tokens: int) -> list[Batch]:
    """Batches of at most `budget_tokens`; only a single input may exceed that, to be read in several passes.

    A request that is longer than the context loses tokens on the left.
    """
    leaves = sorted(_leaves(requests, n_context), key=lambda leaf: leaf.ids)
    batches: list[Batch] = []
    for n_base, family in _families(leaves, budget_tokens):
        trees = [
            part
            for run, n_shared in _runs(family, n_base, LEAST_TRUNK_TOKENS)
            for part in _bounded(Tree(n_base, n_shared, tuple(run)), budget_tokens)
        ]
        batches += _packed(family[0].ids[:n_base], trees, budget_tokens)
    return batches


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


def _families(leaves: list[Leaf], budget_tokens: int) -> Iterator[tuple[int, list[Leaf]]]:
    """Sets whose common beginning is worth a pass of its own, then all the rest with none."""
    rest: list[Leaf] = []
    for run, n_shared in _runs(leaves, 0, LEAST_BASE_TOKENS):
        n_base = min(n_shared, *(leaf.n_free for leaf in run)) if len(run) > 1 else 0
        is_large = len(run) >= LEAST_BASE_ROWS and n_base >= LEAST_BASE_TOKENS
        if is_large or n_base > budget_tokens // 2:
            yield n_base, run
        else:
            rest += run
    if rest:
        yield 0, rest


def _runs(leaves: list[Leaf], floor: int, least: int) -> Iterator[tuple[list[Leaf], int]]:
    """Neighbours that share at least `least` tokens beyond `floor`, and no less than half of what fewer would."""
    run: list[Leaf] = []
    n_shared = 0
    for leaf in leaves:
        both = min(n_shared, _n_common(run[-1].ids, leaf.ids)) if run else 0
        if run and both - floor >= max(least, (n_shared - floor) // 2):
            run.append(leaf)
            n_shared = both
        else:
            if run:
                yield run, n_shared
            run, n_shared = [leaf], len(leaf.ids)
    if run:
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


def _bounded(tree: Tree, budget_tokens: int) -> Iterator[Tree]:
    """The tree, cut where its leaves alone would fill more than one batch."""
    kept: list[Leaf] = []
    n = tree.n_trunk - tree.n_base
    for leaf in tree.leaves:
        n_tail = len(leaf.ids) - tree.n_trunk
        if kept and n + n_tail > budget_tokens:
            yield Tree(tree.n_base, tree.n_trunk, tuple(kept))
            kept, n = [], tree.n_trunk - tree.n_base
        kept.append(leaf)
        n += n_tail
    yield Tree(tree.n_base, tree.n_trunk, tuple(kept))


def _packed(base: tuple[int, ...], trees: list[Tree], budget_tokens: int) -> Iterator[Batch]:
    """Trees of like size together, since attention pads them; large ones first, so that too little memory shows."""
    kept: list[Tree] = []
    n = n_pairs = 0
    for tree in sorted(trees, key=lambda tree: -tree.size):
        own = tree.size * (len(base) + tree.size)
        if kept:
            widest, n_trees = kept[0].size, len(kept) + 1
            n_keys = n_trees * (len(base) + widest)
            is_wasteful = n_keys * widest > 2 * (n_pairs + own) + SPARE_PAIRS
            if n + tree.size > budget_tokens or n_keys > MAX_KEYS or is_wasteful:
                yield Batch(base, tuple(kept))
                kept, n, n_pairs = [], 0, 0
        kept.append(tree)
        n, n_pairs = n + tree.size, n_pairs + own
    if kept:
        yield Batch(base, tuple(kept))
