"""From the event loop to the engine and back: what blocks runs on threads of our own, what nobody reads is stopped."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import anyio
from anyio.to_thread import run_sync
from starlette.types import Receive

from llm_app.api.errors import ClientGone
from llm_app.api.reading import Bell, Reading
from llm_app.config import SamplingConfig
from llm_app.engine.loading import LoadedModel
from llm_app.errors import ModelLoading, ModelNotFound, QueueFull
from llm_app.messages import Delta, Stream, TokenLogprob
from llm_app.services import Services

T = TypeVar("T")

AT_ONCE = 8  # replies of one request that run side by side
N_PREPARING = 4
N_SCORING = 2


@dataclass(frozen=True)
class Target:
    """The model a request names, and the adapter in it."""

    id: str
    loaded: LoadedModel
    adapter: str | None

    @property
    def fingerprint(self) -> str:
        """Changes with the weights, the adapter, the precision, the tokenizer and the template."""
        digest = self.loaded.identity.digest()[:16]
        if self.adapter is None:
            return f"fp_{digest}"
        return f"fp_{digest}_{self.loaded.adapters.digest(self.adapter)[:16]}"


class Work:
    """The engine as the routes use it."""

    def __init__(self, services: Services) -> None:
        self.host, self.settings, self.classifiers = services.host, services.settings, services.classifiers
        self._max_scoring = services.serve.max_waiting + N_SCORING
        self._scoring = 0
        self._n_coming = 0  # requests whose prompts are being written out
        self._bell: Bell | None = None
        # Limiters of our own: the process-wide one is shared with everything that Gradio runs.
        self._preparing = anyio.CapacityLimiter(N_PREPARING)
        self._opening = anyio.CapacityLimiter(1)  # a prompt that is written out does not wait for others
        self._scorers = anyio.CapacityLimiter(N_SCORING)

    def model_ids(self) -> list[str]:
        """What may stand in `model`: the loaded base, and the base with each of its adapters."""
        status = self.host.status()
        if status.model is None or status.state not in ("ready", "loading") or self.host.remote is not None:
            return []  # a model on another server is asked there
        loaded = self.host.loaded
        return [loaded.entry.id, *(f"{loaded.entry.id}+{name}" for name in loaded.adapters.offered)]

    def target(self, model_id: str) -> Target:
        """The loaded model under that id.

        Raises: ModelNotFound; ModelLoading and the like where there is no model at all.
        """
        loaded = self.host.loaded
        base = loaded.entry.id
        if model_id == base:
            return Target(model_id, loaded, None)
        adapter = model_id.removeprefix(f"{base}+")
        if adapter != model_id and adapter in loaded.adapters.offered:
            return Target(model_id, loaded, adapter)
        raise ModelNotFound("This model is not loaded. GET /v1/models lists the ones that answer.", param="model")

    async def prepare(self, call: Callable[..., T], *args: Any) -> T:
        """Run something that blocks (a tokenizer, much JSON) off the event loop."""
        return await run_sync(call, *args, limiter=self._preparing)

    async def written(self, call: Callable[..., T], *args: Any) -> T:
        """Write out what a reply is asked to; refused first where there is no place for it, since most of the work of
        a refusal would be this.

        Raises: QueueFull; what the call raises.
        """
        self.host.require_room(self._n_coming)
        self._n_coming += 1
        try:
            return await self.prepare(call, *args)
        finally:
            self._n_coming -= 1

    async def score(self, target: Target, token_ids: Sequence[int], n_top: int) -> list[TokenLogprob]:
        """Log-probabilities of a given text; as bounded as everything else.

        Raises: QueueFull.
        """
        return await self.measure(self._score, target, token_ids, n_top)

    async def measure(self, call: Callable[..., T], *args: Any) -> T:
        """Run something that measures texts with a model, off the event loop; as bounded as everything else.

        Raises: QueueFull.
        """
        with self._admitted_to_scoring():
            return await run_sync(call, *args, limiter=self._scorers)

    async def replies(
        self, target: Target, prompts: Sequence[Sequence[int]], samplings: Sequence[SamplingConfig]
    ) -> AsyncGenerator[tuple[int, Delta], None]:
        """(index, Delta) of a reply to each prompt, in the order they come; closing it stops those under way.

        A few at a time: one request must not fill the queue by itself.
        Raises: what admission refuses, and what broke a reply off, after the pieces before it.
        """
        for start in range(0, len(prompts), AT_ONCE):
            some = slice(start, start + AT_ONCE)
            opening = prompts[some], samplings[some]
            streams = await run_sync(self._open, target, *opening, limiter=self._opening)
            reading = Reading(streams, self._bell_here())
            try:
                async for index, delta in reading:
                    yield start + index, delta
            finally:
                reading.close()

    def _bell_here(self) -> Bell:
        if self._bell is None or self._bell.loop is not asyncio.get_running_loop():
            self._bell = Bell()
        return self._bell

    def _open(
        self, target: Target, prompts: Sequence[Sequence[int]], samplings: Sequence[SamplingConfig]
    ) -> list[Stream]:
        streams: list[Stream] = []
        try:
            for prompt, sampling in zip(prompts, samplings, strict=True):
                streams.append(self.host.stream(prompt, sampling, adapter=target.adapter))
            self._check_unchanged(target)
        except BaseException:
            for stream in streams:
                stream.close()
            raise
        return streams

    def _score(self, target: Target, token_ids: Sequence[int], n_top: int) -> list[TokenLogprob]:
        scored = self.host.prompt_logprobs(token_ids, n_top, adapter=target.adapter)
        self._check_unchanged(target)
        return scored

    def _check_unchanged(self, target: Target) -> None:
        # Token ids of one model mean nothing to another that took its place meanwhile.
        if self.host.loaded is not target.loaded:
            raise ModelLoading("Another model took this one's place. Send the request again.", retry_after_seconds=1)

    @contextmanager
    def _admitted_to_scoring(self) -> Iterator[None]:
        if self._scoring >= self._max_scoring:
            raise QueueFull("Too many texts wait to be scored already. Try again shortly.", retry_after_seconds=2)
        self._scoring += 1
        try:
            yield
        finally:
            self._scoring -= 1


async def while_connected(receive: Receive, work: Awaitable[T]) -> T:
    """Do the work unless the client leaves.

    Raises: ClientGone.
    """

    async def watch(scope: anyio.CancelScope) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        scope.cancel()

    with anyio.CancelScope() as scope:
        watcher = asyncio.create_task(watch(scope))
        try:
            return await work
        finally:
            watcher.cancel()
    raise ClientGone
