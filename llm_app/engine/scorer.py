"""Runs the batches of a scoring plan: base, stems, then the rows that are read."""

import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from llm_app.engine.branches import Branch, Reading, Scratch
from llm_app.engine.forward import Layout
from llm_app.engine.loading import LoadedModel
from llm_app.engine.packing import Batch, Leaf, passes
from llm_app.engine.turn import BATCH, Turn
from llm_app.errors import UserError

log = logging.getLogger(__name__)

Score = tuple[int, float, bool]  # index of the request, sum of log-probabilities, whether greedy decoding gives it


@dataclass
class _Part:
    """What one pass reads for one request."""

    index: int
    row: int
    first: int  # position among the new tokens
    targets: tuple[int, ...]


class Scorer:
    """Runs batches of a plan; the base of a family of batches is computed once."""

    def __init__(
        self, loaded: LoadedModel, turn: Turn, adapter: str | None, budget_tokens: int, max_positions: int
    ) -> None:
        self._loaded, self._turn, self._adapter = loaded, turn, adapter
        self._budget, self._max_positions = budget_tokens, max_positions
        self._scratch = Scratch()
        self._base: tuple[tuple[int, ...], Branch] | None = None
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
            self._base, self._scratch = None, Scratch()
            error.__traceback__ = None
            scores = []
        if scores:
            yield from scores
            return
        halves = batch.halves()
        if halves is None:
            raise UserError("There is not enough memory to score a single request. Choose int8 or nf4.")
        log.warning("not enough memory for a batch of %d rows; it is halved", sum(len(s.leaves) for s in batch.stems))
        for half in halves:
            yield from self.run(half)

    def _scores(self, batch: Batch) -> Iterator[Score]:
        parent = self._base_of(batch)
        sources = [0] * len(batch.stems)
        if batch.stems[0].n_shared > batch.n_base:
            tokens = [stem.ids[batch.n_base :] for stem in batch.stems]
            for _, _, branch in self._advance("stem", tokens, [batch.n_base] * len(tokens), parent, sources):
                parent = branch
            sources = list(range(len(batch.stems)))
        for rows in passes(batch, self._budget, self._max_positions):
            yield from self._read(batch, rows, parent, sources)

    def _read(
        self, batch: Batch, rows: list[tuple[int, Leaf]], parent: Branch | None, sources: list[int]
    ) -> Iterator[Score]:
        starts = [batch.stems[number].n_shared for number, _ in rows]
        tokens = [leaf.ids[start:] for (_, leaf), start in zip(rows, starts, strict=True)]
        sums: dict[int, tuple[float, bool]] = {}
        chosen = [sources[number] for number, _ in rows]
        for offset, states, branch in self._advance("leaf", tokens, starts, parent, chosen):
            parts = _parts(rows, starts, offset, branch.layout.n_new)
            for part, value, is_greedy in self._values(states, parts):
                before, was_greedy = sums.get(part.index, (0.0, True))
                sums[part.index] = before + value, was_greedy and is_greedy
        yield from ((index, value, is_greedy) for index, (value, is_greedy) in sums.items())

    def _values(self, states: Tensor, parts: list[_Part]) -> Iterator[tuple[_Part, float, bool]]:
        """Equal positions go through the output layer once for each that reads them; they are few."""
        if not parts:
            return
        device = states.device
        rows = torch.tensor([part.row for part in parts for _ in part.targets], device=device)
        places = torch.tensor([part.first + i for part in parts for i in range(len(part.targets))], device=device)
        targets = torch.tensor([target for part in parts for target in part.targets], device=device)
        with self._held():
            values, greedy = self._reading.logprobs(states[rows, places], targets)
        start = 0
        for part in parts:
            end = start + len(part.targets)
            yield part, sum(values[start:end]), all(greedy[start:end])
            start = end

    def _base_of(self, batch: Batch) -> Branch | None:
        if batch.n_base == 0:
            return None
        if self._base is None or self._base[0] != batch.base:
            self._base, held = None, None
            for _, _, branch in self._advance("base", [batch.base], [0], None, [0]):
                held = branch
            assert held is not None
            self._base = batch.base, held
        return self._base[1]

    def _advance(
        self,
        name: str,
        tokens: Sequence[Sequence[int]],
        starts: Sequence[int],
        parent: Branch | None,
        sources: Sequence[int],
    ) -> Iterator[tuple[int, Tensor, Branch]]:
        """One pass; a single row that is longer than the budget takes several. Gives (offset, states, branch)."""
        n = max(len(row) for row in tokens)
        step = self._budget if len(tokens) == 1 else n
        for number, offset in enumerate(range(0, n, step)):
            new = [row[offset : offset + step] for row in tokens]
            n_new = max(len(row) for row in new)
            layout = Layout(0, [start + offset for start in starts], n_new, self._loaded.device)
            # A chunk continues the one before it, so the two must not lie in the same memory.
            branch = Branch(layout, self._scratch, f"{name}{number % 2}", parent, sources)
            with self._held():
                states = self._reading.states(new, branch)
            yield offset, states, branch
            parent, sources = branch, [0]

    @contextmanager
    def _held(self) -> Iterator[None]:
        with self._turn.held(BATCH), torch.inference_mode():
            self._loaded.adapters.use(self._adapter)
            yield


def _parts(rows: list[tuple[int, Leaf]], starts: Sequence[int], offset: int, n_new: int) -> list[_Part]:
    """What is read among the new tokens of a pass, which stand `offset` after the starts of their rows."""
    found = []
    for row, (_, leaf) in enumerate(rows):
        for reader in leaf.readers:
            first = reader.start - starts[row] - offset
            targets = reader.targets[max(0, -first) : max(0, n_new - first)]
            if targets:
                found.append(_Part(reader.index, row, max(0, first), targets))
    return found
