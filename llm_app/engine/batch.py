"""Requests that share one forward pass: they join and leave between steps.

Cache rows 0..n-1 belong to the requests that decode, the rows after them to those whose prompt is still being read,
so that both kinds of pass see a contiguous range.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

from llm_app.engine.compiled import panels
from llm_app.engine.forward import forward
from llm_app.engine.kept import Kept
from llm_app.engine.opening import Opening
from llm_app.engine.pace import Pace
from llm_app.engine.request import Request
from llm_app.engine.sampling import choose
from llm_app.engine.slots import SlotCache
from llm_app.errors import InvalidNumbers

CHUNK_TOKENS = 384  # of prompts, in a pass beside running replies: bounds the gap between their tokens
BURST, BURST_CHUNK_TOKENS = 8, 768  # where so many wait for their first token, others wait a little longer for theirs
IDLE_CHUNK_TOKENS = 1536 if panels.SUIT else 1024  # while nobody in the batch waits for a token: half a second
INVALID_NUMBERS = "The model produced invalid numbers (NaN or infinity). Load it in fp32, or check its weights."


def positions(requests: Sequence[Request]) -> int:
    """Cache positions that these may come to need.

    A batch's cache is a rectangle: as many rows as requests, each as long as the longest may come to be.
    """
    batches: dict[tuple[int, str | None, int], list[Request]] = {}
    for request in requests:
        batches.setdefault(request.key, []).append(request)
    return sum(len(batch) * max(request.n_needed for request in batch) for batch in batches.values())


class _Left(Exception):
    """Nobody waits any more for the prompts that are being read."""


class Batch:
    """Requests under one adapter. Each pass follows from the requests alone, whatever else the model does meanwhile.

    But for what chats take over from `kept`, where they leave for their next turn what they have read, under the
    digest of their adapter. What all of them begin with they take from `opening`. None: of requests that are no chats.
    """

    def __init__(
        self, model: PreTrainedModel, pace: Pace, digest: Callable[[str | None], str], kept: Kept | None,
        opening: Opening | None,
    ) -> None:  # fmt: skip
        self.decoding: list[Request] = []
        self.reading: list[Request] = []
        self._model, self._pace = model, pace
        self._digest, self._kept, self._opening = digest, kept, opening
        self._joined: dict[Request, tuple[str, int]] = {}  # the digest of its adapter then, and what it took from kept
        self._new: list[Request] = []
        self._cache = SlotCache()

    @property
    def requests(self) -> list[Request]:
        """All, in the order of their cache rows."""
        return self.decoding + self.reading

    @property
    def _chunk_tokens(self) -> int:
        """Of prompts, in the next pass."""
        if not self.decoding:
            return IDLE_CHUNK_TOKENS
        return BURST_CHUNK_TOKENS if len(self.reading) >= BURST else CHUNK_TOKENS

    @property
    def n_cache_bytes(self) -> int:
        """Memory of the keys and values, in bytes."""
        return self._cache.n_bytes

    def join(self, request: Request) -> None:
        """Its prompt is read from the next step on."""
        self.reading.append(request)
        self._new.append(request)

    @torch.inference_mode()
    def step(self) -> None:
        """Read a chunk of the waiting prompts, then one token for every running reply."""
        self.drop_finished()
        if self.reading:
            self._recall()
            self._read_prompts(self._chunk_tokens)
            self.drop_finished()
        if self.decoding:
            tokens = [[request.output_ids[-1]] for request in self.decoding]
            with self._pace.passing(len(tokens)):
                logits = forward(self._model, self._cache, tokens, [request.n_cached for request in self.decoding])
            for request in self.decoding:
                request.n_cached += 1
            self._take(self.decoding, logits)
            self.drop_finished()

    @torch.inference_mode()
    def drop_finished(self) -> None:
        """Requests that ended, or whose reader left, free their rows; an empty batch holds no memory."""
        for row in reversed(range(len(self.requests))):
            if self.requests[row].is_over:
                self._keep(row)
                self._remove(row)
        if not self.requests:
            if self._cache.n_bytes:
                self._cache = SlotCache()
        else:
            self._cache.shrink(len(self.requests), max(request.n_cached for request in self.requests) + CHUNK_TOKENS)

    def fail(self, error: Exception) -> None:
        """Every request ends with an error; the batch starts afresh."""
        for request in self.requests:
            if not request.is_over:
                request.fail(error)
        self.decoding, self.reading, self._new = [], [], []
        self._joined.clear()
        self._cache = SlotCache()

    def _recall(self) -> None:
        """Who has just joined need not read what an earlier turn of the chat has left, or what all chats begin with."""
        opened: list[Request] = []
        for request in self._new:
            if self._kept is None or request not in self.reading:
                continue
            digest = self._digest(request.adapter)
            states = self._kept.find(digest, request.prompt_ids)
            if states is not None:
                self._cache.put([self.requests.index(request)], states)
                request.n_cached = states[0][0].shape[1]
            elif self._opening is not None and self._opening.begins(request.prompt_ids):
                opened.append(request)
            self._joined[request] = digest, request.n_cached
        self._new.clear()
        if opened and self._opening is not None:
            states = self._opening.states(self._model, self._digest(opened[0].adapter))
            self._cache.put([self.requests.index(request) for request in opened], states)
            for request in opened:
                request.n_cached = states[0][0].shape[1]

    def _keep(self, row: int) -> None:
        """What a request whose reply ended, or was stopped, leaves for the next turn."""
        request = self.requests[row]
        digest, n_taken = self._joined.pop(request, (None, 0))
        n_prompt, n = len(request.prompt_ids), request.n_cached
        is_of_use = n >= n_prompt and request.finish_reason != "cancelled"
        if self._kept is not None and is_of_use and digest == self._digest(request.adapter):
            token_ids = (request.prompt_ids + request.output_ids)[:n]
            self._kept.keep(digest, token_ids, n_prompt, n_taken, self._cache.states(row, n))

    def _read_prompts(self, budget: int) -> None:
        oldest = min(range(len(self.reading)), key=lambda i: self.reading[i].started)
        group = self._next_chunks(self.reading[oldest:], budget)
        first = len(self.decoding) + oldest
        chunks = [request.prompt_ids[request.n_cached : request.n_cached + n] for request, n in group]
        starts = [request.n_cached for request, _ in group]

        def check() -> None:
            if all(request.is_over for request, _ in group):
                raise _Left

        try:
            logits = forward(self._model, self._cache, chunks, starts, first, check)
        except _Left:
            self._clean_up(range(first, first + len(group)))
            return
        for request, n in group:
            request.n_cached += n
        done = [i for i, (request, _) in enumerate(group) if request.n_prompt_left == 0]
        for i in done:
            self._start_decoding(group[i][0])
        if done:
            self._take([group[i][0] for i in done], logits[done])

    def _clean_up(self, rows: range) -> None:
        """After a pass that was ended in its middle: some layers have seen its tokens, the others have not."""
        if not any(request.n_cached for request in self.requests):
            self._cache = SlotCache()
            return
        self._cache.level()
        for row in rows:
            self._cache.clear(row)

    def _next_chunks(self, waiting: list[Request], budget: int) -> list[tuple[Request, int]]:
        """The first prompts of these, as many as fit the budget with their padding."""
        group: list[tuple[Request, int]] = []
        longest = 0
        for request in waiting:
            n = min(request.n_prompt_left, budget)
            longest = max(longest, n)
            if group and longest * (len(group) + 1) > budget:
                break
            group.append((request, n))
        return group

    def _start_decoding(self, request: Request) -> None:
        """Move its row to the end of the decoding ones."""
        row, target = self.requests.index(request), len(self.decoding)
        if row != target:
            other = self.requests[target]
            self._cache.swap(row, target, max(request.n_cached, other.n_cached))
            at = row - target
            self.reading[0], self.reading[at] = self.reading[at], self.reading[0]
        self.decoding.append(self.reading.pop(0))

    def _take(self, requests: list[Request], logits: Tensor) -> None:
        highest = logits.amax(-1)
        for row in (~torch.isfinite(highest)).nonzero()[:, 0].tolist():
            requests[row].fail(InvalidNumbers(INVALID_NUMBERS))
            self._cache.clear(self.requests.index(requests[row]))
            logits[row] = 0.0
        choices = choose(logits, [request.sampler for request in requests])
        for request, choice in zip(requests, choices, strict=True):
            if not request.is_over:
                request.take(choice)

    def _remove(self, row: int) -> None:
        """The last row of its kind moves into the gap, so that both ranges stay contiguous."""
        n = len(self.decoding)
        if row >= n:
            self._close_gap(self.reading, row - n, n)
            return
        self._close_gap(self.decoding, row, 0)
        if self.reading:
            last = self.reading.pop()
            self._cache.move(n + len(self.reading), n - 1, last.n_cached)
            self.reading.insert(0, last)

    def _close_gap(self, requests: list[Request], at: int, first_row: int) -> None:
        last = requests.pop()
        if at < len(requests):
            self._cache.move(first_row + len(requests), first_row + at, last.n_cached)
            requests[at] = last
