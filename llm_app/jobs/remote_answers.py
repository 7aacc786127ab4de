"""A model on another server as evaluations ask it: text goes out, text or log-probabilities come back."""

import asyncio
import json
from collections import deque
from collections.abc import Callable, Collection, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Future, wait
from typing import Any, TypeVar

from eval.tasks.harness import HarnessTask
from eval.types import Generation, Given, Unscored
from llm_app.engine.host import Host
from llm_app.engine.room import Room
from llm_app.errors import ModelIsRemote, UserError
from llm_app.jobs.ending import Paused
from llm_app.remote.client import RemoteBusy, RemoteMissing, RemoteRefused, RemoteUnreachable
from llm_app.remote.echo import NoLogprobs, Scored, read_scored
from llm_app.remote.model import RemoteModel

T = TypeVar("T")

AT_ONCE = 8  # requests that the server is given side by side
AHEAD = 4 * AT_ONCE  # requests made ready, so that one slow answer keeps no place empty
TRIES = 5  # at a request that the server could not answer
FIRST_PAUSE_SECONDS, MAX_PAUSE_SECONDS = 0.5, 60.0  # doubled from one try to the next, unless the server says how long
CHECK_SECONDS = 0.5  # between looks whether it was stopped
MAX_STOPS = 4  # what OpenAI's API takes; the text is cut at the others afterwards
PROBE = "The cat sat on the mat."  # no model has it as one token


class RemoteAnswers:
    """Answers with the host's remote model. Greedy text and log-probabilities are those of the server.

    `room` is that of a model on this machine; nothing here makes it shorter.
    """

    def __init__(
        self, host: Host, remote: RemoteModel, *, first_pause_seconds: float = FIRST_PAUSE_SECONDS
    ) -> None:
        self.room = Room()
        self._host, self._remote, self._first_pause_seconds = host, remote, first_pause_seconds
        self._at_once = asyncio.Semaphore(AT_ONCE)
        self._conversations: dict[str, list[dict[str, str]]] = {}  # by the prompt that stands for them
        self._contexts: dict[str, tuple[str, ...]] = {}  # tokens of contexts that had to be looked at by themselves
        self._stopped: UserError | None = None

    def stop(self, reason: UserError) -> None:
        """Answer nothing more: whoever asks, or is waiting for an answer, gets this error. For any thread."""
        self._stopped = reason

    def check(self, tasks: Mapping[str, HarnessTask]) -> None:
        """Whether the server can answer what these tasks ask, tried out before anything runs.

        Raises: UserError that names the tasks and what the server lacks for them.
        """
        asked = {name: [r for sample in task.samples for r in sample.requests] for name, task in tasks.items()}
        whole = [name for name, requests in asked.items() if any(r.kind == "rolling" for r in requests)]
        if whole:
            raise UserError(
                f"{_named(whole)}: the likelihood of whole texts is taken in windows of tokens, for which the tokenizer"
                " is needed. Load the model on this machine for it.", param="tasks",
            )  # fmt: skip
        scored = [name for name, requests in asked.items() if any(r.kind == "loglikelihood" for r in requests)]
        if not scored:
            return
        if self._conversations:
            raise UserError(
                f"{_named(scored)}: likelihoods after a chat prompt need the model's template, which stays on its"
                " server. Run without the chat template.", param="chat_template",
            )  # fmt: skip
        requests = [r for name in scored for r in asked[name] if r.kind == "loglikelihood"]
        self._try_out(scored, has_empty=any(not request.text.strip() for request in requests))

    def loglikelihoods(
        self, pairs: Sequence[tuple[str, str]], wanted: Collection[int]
    ) -> Iterator[tuple[int, Given]]:
        """(sum of log-probabilities, whether greedy decoding gives it) of continuations after contexts."""
        return self._answers(wanted, lambda index: self._scored(*pairs[index]))

    def rolling(self, texts: Sequence[str], wanted: Collection[int]) -> Iterator[tuple[int, Given]]:
        """Raises: ModelIsRemote: windows of tokens need the tokenizer."""
        raise ModelIsRemote("Whole texts are scored with a model on this machine only.")

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Raises: ModelIsRemote: the tokenizer is on the other server."""
        raise ModelIsRemote("Tokens are counted with a model on this machine only.")

    def generate(
        self, prompts: Sequence[tuple[str, Generation]], wanted: Collection[int]
    ) -> Iterator[tuple[int, Given]]:
        """Text that follows the prompts; a conversation that `render` wrote goes out as a conversation."""
        return self._answers(wanted, lambda index: self._generated(*prompts[index]))

    def render(self, messages: list[dict[str, str]], *, add_generation_prompt: bool = True) -> str:
        """The conversation as JSON: the server has the template. `generate` knows it again.

        Raises: UserError for a reply that is begun already, which no such server goes on with.
        """
        if not add_generation_prompt:
            raise UserError("A model on another server cannot go on from a given beginning of a reply.")
        text = json.dumps(messages, ensure_ascii=False)
        self._conversations[text] = messages
        return text

    def _answers(
        self, wanted: Collection[int], ask: Callable[[int], Coroutine[Any, Any, Given]]
    ) -> Iterator[tuple[int, Given]]:
        """An answer to each that is wanted, in their order, with a few requests under way."""
        indices, under_way = iter(sorted(wanted)), deque[tuple[int, Future[Given]]]()
        try:
            while True:
                while len(under_way) < AHEAD and (index := next(indices, None)) is not None:
                    under_way.append((index, self._remote.client.start(ask(index))))
                if not under_way:
                    return
                index, future = under_way[0]
                answer = self._waited(future)
                under_way.popleft()
                yield index, answer
        finally:
            for _, future in under_way:
                future.cancel()

    def _waited(self, future: Future[Given]) -> Given:
        """The answer, or why there is none. Raises: what no other request would fare better with."""
        try:
            return self._finished(future)
        except RemoteRefused as error:
            return Unscored(error.message)
        except RemoteUnreachable as error:
            raise Paused(f"{error.message} Resume the run when it is.") from error
        except RemoteBusy as error:
            return Unscored(error.message, is_passing=True)

    def _finished(self, future: Future[T]) -> T:
        """What came of it. Raises: as `_check`, while it is waited for, too."""
        while not wait([future], CHECK_SECONDS).done:
            self._check()
        self._check()
        try:
            return future.result()
        except CancelledError:
            raise UserError("The model was unloaded meanwhile. Load it again, then resume the run.") from None

    def _check(self) -> None:
        """Raises: why it was stopped; UserError if another model has taken the place of this one."""
        if self._stopped is not None:
            raise self._stopped
        if self._host.remote is not self._remote:
            raise UserError("Another model was loaded meanwhile. Load the model of this run again, then resume it.")

    async def _sent(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """The answer, asked for a few times where the server could not give it. Raises: RemoteFailed."""
        body = {"model": self._remote.address.model, **body}
        for attempt in range(TRIES):
            try:
                async with self._at_once:
                    return await self._remote.client.ask("POST", path, body)
            except RemoteBusy as error:
                if attempt == TRIES - 1:
                    raise
                pause = self._first_pause_seconds * 2**attempt
                await asyncio.sleep(min(max(pause, error.retry_after_seconds or 0), MAX_PAUSE_SECONDS))
        raise AssertionError

    async def _generated(self, prompt: str, generation: Generation) -> Given:
        body: dict[str, Any] = {"max_tokens": generation.max_new_tokens, "temperature": generation.temperature}
        if generation.temperature > 0:
            body |= {"top_p": generation.top_p, "seed": generation.seed}
            body |= {"top_k": generation.top_k} if generation.top_k else {}
        if generation.stop:
            body["stop"] = [stop for stop in generation.stop if stop][:MAX_STOPS]
        if self._conversations:
            if prompt not in self._conversations:
                raise UserError("This task writes more than messages into a chat prompt. Run without --chat-template.")
            found = await self._sent("/chat/completions", {"messages": self._conversations[prompt], **body})
        else:
            found = await self._sent("/completions", {"prompt": prompt, **body})
        text = _text_of(found)
        if text is None:
            raise RemoteBusy(f"{self._remote.client.url} answered without a text.")
        for stop in generation.stop:
            text = text.split(stop)[0] if stop else text
        return text

    async def _scored(self, context: str, continuation: str) -> Given:
        """As lm-evaluation-harness has it: spaces at the end of a context go to the continuation."""
        if not continuation:
            return Unscored("the text to be scored is empty")
        stem = context.rstrip()
        scored = await self._echoed(context + continuation)
        start = scored.start_of(len(stem))
        if start is None:
            before = await self._tokens_of(stem)
            start = len(before)
            if scored.tokens[:start] != before:
                return Unscored("a token lies across the end of the prompt, which only the model's tokenizer can cut")
        return scored.after(start) or Unscored(
            "the server gives no probability of a first token, which nothing stands before"
        )

    async def _echoed(self, text: str) -> Scored:
        # One token more than none: some servers do not take 0.
        body = {"prompt": text, "max_tokens": 1, "temperature": 0, "logprobs": 1, "echo": True}
        return read_scored(await self._sent("/completions", body), text)

    async def _tokens_of(self, context: str) -> tuple[str, ...]:
        """The tokens of a context when it stands by itself, with what the server puts before it; asked once of each."""
        if context not in self._contexts:
            self._contexts[context] = (await self._echoed(context)).tokens
        return self._contexts[context]

    def _try_out(self, tasks: Sequence[str], *, has_empty: bool) -> None:
        try:
            probe = self._finished(self._remote.client.start(self._echoed(PROBE)))
        except (NoLogprobs, RemoteRefused, RemoteMissing) as error:
            raise UserError(
                f"{_named(tasks)}: {self._remote.client.url} gives no log-probabilities of a prompt"
                f" (/v1/completions with echo and logprobs), which these tasks need. Choose tasks that generate text."
                f" {error.message}", param="tasks",
            ) from error  # fmt: skip
        if has_empty and probe.after(probe.n_before) is None:
            raise UserError(
                f"{_named(tasks)}: some texts stand alone, and {self._remote.client.url} gives no probability of a"
                " text's first token. Load the model on this machine for it.", param="tasks",
            )  # fmt: skip


def _text_of(answer: Mapping[str, Any]) -> str | None:
    """The text of the first choice, of either route."""
    choices = answer.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
    message = choice.get("message")
    text = message.get("content") if isinstance(message, dict) else choice.get("text")
    return text.encode(errors="replace").decode() if isinstance(text, str) else None


def _named(tasks: Sequence[str]) -> str:
    return ", ".join(tasks[:4]) + (", ..." if len(tasks) > 4 else "")
