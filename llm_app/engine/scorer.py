"""Runs the batches of a scoring plan: the base first, then the trees whose positions are read."""

import logging
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch

from llm_app.engine.branches import Branch, Reading, TreeLayout
from llm_app.engine.failures import is_out_of_memory
from llm_app.engine.loading import LoadedModel
from llm_app.engine.packing import Batch, Leaf, Tree
from llm_app.engine.room import Room
from llm_app.engine.turn import BATCH, Turn
from llm_app.errors import NotEnoughMemory

log = logging.getLogger(__name__)

Score = tuple[int, float, bool]  # index of the request, sum of log-probabilities, whether greedy decoding gives it


class TooLargeAlone(NotEnoughMemory):
    """There is no memory for these requests, not even for one after the other in short passes."""

    def __init__(self, indices: Iterable[int]) -> None:
        super().__init__("There is not enough memory to score a single request. Choose int8 or nf4.")
        self.indices = frozenset(indices)


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

    def __init__(self, loaded: LoadedModel, turn: Turn, adapter: str | None, room: Room) -> None:
        self._loaded, self._turn, self._adapter, self._room = loaded, turn, adapter, room
        self._base = _Base()
        with self._held():
            self._reading = Reading(loaded.model, is_split=loaded.is_split)

    def run(self, batch: Batch, wanted: Collection[int] | None = None) -> Iterator[Score]:
        """All scores of a batch, if one of them is wanted. What does not fit in memory is halved, not lost.

        Raises: TooLargeAlone.
        """
        if wanted is not None and not any(index in wanted for index in batch.indices):
            return
        halves = batch.halves() if batch.size > self._room.tokens else None
        if halves is not None:
            for half in halves:
                yield from self.run(half, wanted)
            return
        scores = self._attempted(batch)
        if scores is not None:
            yield from scores
        elif batch.halves() is None:
            yield from self._alone(batch)
        elif self._room.take_fewer_tokens(max(batch.size, len(batch.base))):
            log.warning("not enough memory; from now on a pass has at most %d tokens", self._room.tokens)
            yield from self.run(batch, wanted)
        else:
            for half in batch.halves() or ():
                yield from self.run(half, wanted)

    def _alone(self, batch: Batch) -> list[Score]:
        """The scores of a single input that failed, in passes that are shorter and shorter."""
        before = self._room.tokens
        while self._room.take_fewer_tokens(max(batch.size, len(batch.base))):
            scores = self._attempted(batch)
            if scores is not None:
                log.warning("not enough memory; from now on a pass has at most %d tokens", self._room.tokens)
                return scores
        self._room.tokens = before  # of others, which need less, it says nothing
        raise TooLargeAlone(batch.indices)

    def _attempted(self, batch: Batch) -> list[Score] | None:
        """The scores, or None where memory does not suffice."""
        try:
            return list(self._scores(batch))
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            # Nothing of the failed pass may stay while smaller ones run.
            self._base = _Base()
            error.__traceback__ = None
            return None

    def _scores(self, batch: Batch) -> Iterator[Score]:
        if self._base.ids != batch.base:
            self._base = _Base()
            for start in range(0, len(batch.base), self._room.tokens):
                self._base, _ = self._continued(self._base, batch.base[start : start + self._room.tokens])
        tallies: dict[int, _Tally] = {}
        if batch.size > self._room.tokens:
            ((leaf,),) = (tree.leaves for tree in batch.trees)
            self._read_long(leaf, tallies)
        else:
            self._read_trees(batch.trees, tallies)
        for index, tally in tallies.items():
            yield index, sum(tally.values), tally.is_greedy

    def _read_trees(self, trees: Sequence[Tree], tallies: dict[int, _Tally]) -> None:
        """One pass over all trees."""
        parts = [(tree.trunk, [leaf.ids[tree.n_trunk :] for leaf in tree.leaves]) for tree in trees]
        layout = TreeLayout(len(self._base.ids), parts, self._loaded.device, self._give_way)
        readers, wanted = [], []
        for number, tree in enumerate(trees):
            trunk = layout.trunk_offsets[number] - tree.n_base
            for leaf, tail_offset in zip(tree.leaves, layout.tail_offsets[number], strict=True):
                tail = tail_offset - tree.n_trunk
                for reader in leaf.readers:
                    for position, target in enumerate(reader.targets, reader.start):
                        readers.append(reader.index)
                        wanted.append((position + (trunk if position < tree.n_trunk else tail), target))
        layout.read_only([token for token, _ in wanted])
        with self._held():
            states = self._reading.states(layout, Branch(self._base.branch))
        with self._held():
            values, greedy = self._reading.logprobs(states, wanted)
        _add(tallies, readers, values, greedy)

    def _read_long(self, leaf: Leaf, tallies: dict[int, _Tally]) -> None:
        """One input that is longer than the budget, in several passes."""
        base = self._base
        for start in range(len(base.ids), len(leaf.ids), self._room.tokens):
            end = min(start + self._room.tokens, len(leaf.ids))
            found = [
                (reader.index, (position - start, target))
                for reader in leaf.readers
                for position, target in enumerate(reader.targets, reader.start) if start <= position < end
            ]
            base, states = self._continued(base, leaf.ids[start:end], [token for _, (token, _) in found])
            if found:
                with self._held():
                    values, greedy = self._reading.logprobs(states, [place for _, place in found])
                _add(tallies, [index for index, _ in found], values, greedy)

    def _continued(
        self, base: _Base, ids: tuple[int, ...], reads: Collection[int] = ()
    ) -> tuple[_Base, torch.Tensor]:
        """The base with more tokens behind it, and the states after those of them that are read."""
        layout = TreeLayout(len(base.ids), [(ids, [])], self._loaded.device, self._give_way)
        layout.read_only(reads)
        branch = Branch(base.branch, is_base=True)
        with self._held():
            states = self._reading.states(layout, branch)
        return _Base(base.ids + ids, branch), states

    def _give_way(self) -> None:
        """Between two layers: a chat would wait half a second for the whole pass."""
        if self._turn.give_way(BATCH):
            self._loaded.adapters.use(self._adapter)

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
