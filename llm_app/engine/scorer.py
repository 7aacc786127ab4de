"""Runs the batches of a scoring plan: the base first, then the trees whose positions are read."""

import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch

from llm_app.engine.branches import Branch, Reading, TreeLayout
from llm_app.engine.loading import LoadedModel
from llm_app.engine.packing import Batch, Leaf, Tree
from llm_app.engine.turn import BATCH, Turn
from llm_app.errors import UserError

log = logging.getLogger(__name__)

Score = tuple[int, float, bool]  # index of the request, sum of log-probabilities, whether greedy decoding gives it


@dataclass
class _Base:
    """Tokens that were read already, for passes that go on from them."""

    ids: tuple[int, ...] = ()
    branch: Branch | None = None


@dataclass
class _Tally:
    """The parts of one request's answer, in the order of its tokens."""

    values: list[float] = field(default_factory=list)
    is_greedy: bool = True


class Scorer:
    """Runs batches of a plan; the base of a family of batches is computed once."""

    def __init__(self, loaded: LoadedModel, turn: Turn, adapter: str | None, budget_tokens: int) -> None:
        self._loaded, self._turn, self._adapter = loaded, turn, adapter
        self._budget = budget_tokens
        self._base = _Base()
        with self._held():
            self._reading = Reading(loaded.model)

    def run(self, batch: Batch) -> Iterator[Score]:
        """All scores of a batch. Where memory does not suffice it is halved, not lost."""
        try:
            scores = list(self._scores(batch))
        except (MemoryError, torch.OutOfMemoryError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and not re.search("allocate memory|out of memory", str(error)):
                raise
            # Nothing of the failed pass may stay while the halves run.
            self._base = _Base()
            error.__traceback__ = None
            scores = []
        if scores:
            yield from scores
            return
        halves = batch.halves()
        if halves is None:
            raise UserError("There is not enough memory to score a single request. Choose int8 or nf4.")
        log.warning("not enough memory for a batch of %d inputs; it is halved", sum(len(t.leaves) for t in batch.trees))
        for half in halves:
            yield from self.run(half)

    def _scores(self, batch: Batch) -> Iterator[Score]:
        if self._base.ids != batch.base:
            self._base = _Base()
            for start in range(0, len(batch.base), self._budget):
                self._base, _ = self._continued(self._base, batch.base[start : start + self._budget])
        tallies: dict[int, _Tally] = {}
        if batch.size > self._budget:
            ((leaf,),) = (tree.leaves for tree in batch.trees)
            self._read_long(leaf, tallies)
        else:
            self._read_trees(batch.trees, tallies)
        for index, tally in tallies.items():
            yield index, sum(tally.values), tally.is_greedy

    def _read_trees(self, trees: Sequence[Tree], tallies: dict[int, _Tally]) -> None:
        """One pass over all trees."""
        parts = [(tree.trunk, [leaf.ids[tree.n_trunk :] for leaf in tree.leaves]) for tree in trees]
        layout = TreeLayout(len(self._base.ids), parts, self._loaded.device)
        readers, wanted = [], []
        for number, tree in enumerate(trees):
            trunk = layout.trunk_offsets[number] - tree.n_base
            for leaf, tail_offset in zip(tree.leaves, layout.tail_offsets[number], strict=True):
                tail = tail_offset - tree.n_trunk
                for reader in leaf.readers:
                    for position, target in enumerate(reader.targets, reader.start):
                        readers.append(reader.index)
                        wanted.append((position + (trunk if position < tree.n_trunk else tail), target))
        with self._held():
            states = self._reading.states(layout, Branch(self._base.branch))
        with self._held():
            values, greedy = self._reading.logprobs(states, wanted)
        _add(tallies, readers, values, greedy)

    def _read_long(self, leaf: Leaf, tallies: dict[int, _Tally]) -> None:
        """One input that is longer than the budget, in several passes."""
        base = self._base
        for start in range(len(base.ids), len(leaf.ids), self._budget):
            end = min(start + self._budget, len(leaf.ids))
            base, states = self._continued(base, leaf.ids[start:end])
            found = [
                (reader.index, (position - start, target))
                for reader in leaf.readers
                for position, target in enumerate(reader.targets, reader.start) if start <= position < end
            ]
            if found:
                with self._held():
                    values, greedy = self._reading.logprobs(states, [place for _, place in found])
                _add(tallies, [index for index, _ in found], values, greedy)

    def _continued(self, base: _Base, ids: tuple[int, ...]) -> tuple[_Base, torch.Tensor]:
        """The base with more tokens behind it, and the states after each of those."""
        layout = TreeLayout(len(base.ids), [(ids, [])], self._loaded.device)
        branch = Branch(base.branch, is_base=True)
        with self._held():
            states = self._reading.states(layout, branch)
        return _Base(base.ids + ids, branch), states

    @contextmanager
    def _held(self) -> Iterator[None]:
        with self._turn.held(BATCH), torch.inference_mode():
            self._loaded.adapters.use(self._adapter)
            yield


def _add(tallies: dict[int, _Tally], indices: list[int], values: list[float], greedy: list[bool]) -> None:
    for index, value, is_greedy in zip(indices, values, greedy, strict=True):
        tally = tallies.setdefault(index, _Tally())
        tally.values.append(value)
        tally.is_greedy &= is_greedy
