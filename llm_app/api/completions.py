"""POST /v1/completions: plain continuation of text or tokens, and the log-probabilities of given text."""

import time
import uuid
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from fastapi import FastAPI, Request, Response

from llm_app.api.body import body_schema, read_body
from llm_app.api.chat import choices_of, finish_reason, usage_body
from llm_app.api.forms import DEFAULT_COMPLETION_TOKENS, CompletionRequest
from llm_app.api.json_text import json_answer
from llm_app.api.logprobs import LegacyLogprobs
from llm_app.api.sse import EventStream
from llm_app.api.work import Target, Work, while_connected
from llm_app.chat import CHARACTERS_PER_TOKEN
from llm_app.config import SamplingConfig
from llm_app.engine.loading import LoadedModel
from llm_app.errors import ContextLengthExceeded, UserError
from llm_app.messages import Delta, TokenLogprob, Usage

# Alternatives in one answer, about 6 MB of JSON; far more of them are so many objects that clearing them up stalls all.
MAX_LOGPROBS = 250_000


@dataclass(frozen=True)
class Prompt:
    """A prompt as text and as tokens; a measured one has log-probabilities, and its reply where that fell out too."""

    text: str
    token_ids: tuple[int, ...]
    logprobs: tuple[TokenLogprob, ...] = ()
    reply: Delta | None = None


def add_completion_routes(api: FastAPI, work: Work) -> None:
    """The route, on this engine."""
    @api.post("/v1/completions", openapi_extra=body_schema(CompletionRequest))
    async def completions(request: Request) -> Response:
        """One continuation (or n) of each prompt, at once or as a stream."""
        asked = await read_body(request, CompletionRequest)
        target = work.target(asked.model)
        sampling = _sampling(asked)
        # A text that is measured may need no reply.
        prompts = await (work.prepare if asked.echo else work.written)(_prompts, target.loaded, asked)
        if asked.echo and (asked.logprobs is not None or asked.max_tokens == 0):
            measuring = _measured(work, target, asked, prompts, sampling)
            prompts = await while_connected(request.receive, measuring)
        answer = CompletionAnswer(asked, target, prompts)
        pieces = _pieces(work, target, asked, prompts, sampling)
        if asked.stream:
            return EventStream(work, pieces, answer)
        await while_connected(request.receive, answer.read(pieces))
        return await work.prepare(json_answer, answer.whole)


async def _measured(
    work: Work, target: Target, asked: CompletionRequest, prompts: Sequence[Prompt], sampling: SamplingConfig
) -> list[Prompt]:
    """The prompts with their log-probabilities.

    Who measures asks for one likeliest token after the text, or for none. That token falls out of the same pass: it
    leads the alternatives at one position more. lm-evaluation-harness counts on it being there, also as end of text.
    """
    measured = []
    is_one_likeliest = asked.max_tokens == 1 and asked.n == 1 and _takes_the_likeliest(sampling)
    for prompt in prompts:
        reply = _no_reply(prompt) if asked.max_tokens == 0 else None
        if asked.logprobs is None:
            measured.append(replace(prompt, reply=reply))
            continue
        ids = (*prompt.token_ids, prompt.token_ids[-1]) if is_one_likeliest else prompt.token_ids
        n_top = max(asked.logprobs, 1) if is_one_likeliest else asked.logprobs
        scored = await work.score(target, ids, n_top)
        if is_one_likeliest:
            reply = _one_token(target.loaded, prompt, scored.pop())
        if n_top > asked.logprobs:
            scored = await work.prepare(_without_top, scored)
        measured.append(replace(prompt, logprobs=tuple(scored), reply=reply))
    return measured


def _takes_the_likeliest(sampling: SamplingConfig) -> bool:
    """Whether nothing but the model's own numbers decides on the next token."""
    penalties = (sampling.repetition_penalty - 1, sampling.presence_penalty, sampling.frequency_penalty)
    is_as_measured = not any(penalties) and sampling.no_repeat_ngram == 0 and sampling.n_beams == 1
    return sampling.temperature == 0 and is_as_measured and not sampling.stop


def _without_top(tokens: Sequence[TokenLogprob]) -> list[TokenLogprob]:
    return [replace(token, top=()) for token in tokens]


def _no_reply(prompt: Prompt) -> Delta:
    return Delta("", finish_reason="length", usage=Usage(len(prompt.token_ids), 0, 0.0, 0.0, 0))


def _one_token(loaded: LoadedModel, prompt: Prompt, after: TokenLogprob) -> Delta:
    likeliest = after.top[0]
    is_end = likeliest.token_id in loaded.eos_ids
    return Delta(
        text="" if is_end else likeliest.data.decode(errors="ignore"),
        token_ids=(likeliest.token_id,),
        logprobs=(replace(likeliest, top=after.top),),
        finish_reason="stop" if is_end else "length",
        usage=Usage(len(prompt.token_ids), 1, 0.0, 0.0, 0),
    )


async def _pieces(
    work: Work, target: Target, asked: CompletionRequest, prompts: Sequence[Prompt], sampling: SamplingConfig
) -> AsyncGenerator[tuple[int, Delta], None]:
    known = [prompt.reply for prompt in prompts for _ in range(asked.n)]
    for index, reply in enumerate(known):
        if reply is not None:
            yield index, reply
    if None in known:
        ids = [prompt.token_ids for prompt in prompts for _ in range(asked.n)]
        async for piece in work.replies(target, ids, choices_of(sampling, asked.n) * len(prompts)):
            yield piece


@dataclass
class _Choice:
    prompt: Prompt
    text: str = ""
    tokens: list[TokenLogprob] = field(default_factory=list)
    logprobs: LegacyLogprobs = field(default_factory=LegacyLogprobs)
    reason: str | None = None


class CompletionAnswer:
    """Writes the pieces of all replies as chunks of a stream, or as one body."""

    def __init__(self, asked: CompletionRequest, target: Target, prompts: Sequence[Prompt]) -> None:
        self._asked = asked
        self._prompts = prompts
        self._choices = [_Choice(prompt) for prompt in prompts for _ in range(asked.n)]
        self._usages: list[Usage] = []
        self._head = {"id": f"cmpl-{uuid.uuid4().hex}", "object": "text_completion", "created": int(time.time()),
                      "model": target.id, "system_fingerprint": target.fingerprint}

    def opening(self) -> list[dict[str, Any]]:
        """The prompts, where they are to be repeated."""
        if not self._asked.echo:
            return []
        prompts = [choice.prompt for choice in self._choices]
        return [self._chunk(index, prompt.text, prompt.logprobs) for index, prompt in enumerate(prompts)]

    def of(self, index: int, delta: Delta) -> list[dict[str, Any]]:
        """The text of a piece, with the reason if it is the last one."""
        if delta.usage:
            self._usages.append(delta.usage)
        if not (delta.text or delta.logprobs or delta.finish_reason):
            return []
        return [self._chunk(index, delta.text, delta.logprobs, finish_reason(delta))]

    def closing(self) -> list[dict[str, Any]]:
        """The token counts, where they were asked for."""
        return [self._head | {"choices": [], "usage": self._usage()}] if self._asked.includes_usage else []

    async def read(self, pieces: AsyncGenerator[tuple[int, Delta], None]) -> None:
        """Take all pieces in, for `whole`."""
        async for index, delta in pieces:
            choice = self._choices[index]
            choice.text += delta.text
            choice.tokens += delta.logprobs
            choice.reason = finish_reason(delta)
            if delta.usage:
                self._usages.append(delta.usage)

    def whole(self) -> dict[str, Any]:
        """The body of an answer that is not streamed."""
        choices = []
        for index, choice in enumerate(self._choices):
            before, scored = (choice.prompt.text, choice.prompt.logprobs) if self._asked.echo else ("", ())
            choices.append(self._body(index, before + choice.text, [*scored, *choice.tokens], choice.reason))
        return self._head | {"choices": choices, "usage": self._usage()}

    def _usage(self) -> dict[str, int]:
        return usage_body(self._usages, sum(len(prompt.token_ids) for prompt in self._prompts))

    def _body(self, index: int, text: str, tokens: Sequence[TokenLogprob], reason: str | None) -> dict[str, Any]:
        logprobs = None if self._asked.logprobs is None else self._choices[index].logprobs.of(tokens)
        return {"index": index, "text": text, "logprobs": logprobs, "finish_reason": reason}

    def _chunk(
        self, index: int, text: str, tokens: Sequence[TokenLogprob], reason: str | None = None
    ) -> dict[str, Any]:
        chunk = self._head | {"choices": [self._body(index, text, tokens, reason)]}
        return chunk | {"usage": None} if self._asked.includes_usage else chunk


def _sampling(asked: CompletionRequest) -> SamplingConfig:
    n_tokens = DEFAULT_COMPLETION_TOKENS if asked.max_tokens is None else max(1, asked.max_tokens)
    return asked.sampling(max_new_tokens=n_tokens, n_logprobs=asked.logprobs)


def _prompts(loaded: LoadedModel, asked: CompletionRequest) -> list[Prompt]:
    prompts = [_prompt(loaded, prompt) for prompt in asked.prompt]
    room = 0 if asked.max_tokens == 0 else 1
    for prompt in prompts:
        if not prompt.token_ids:
            raise UserError("The prompt is empty. Write something first.", param="prompt")
        if len(prompt.token_ids) + room > loaded.n_context:
            raise ContextLengthExceeded(
                f"The prompt has {len(prompt.token_ids):,} tokens, the context of this model holds"
                f" {loaded.n_context:,} tokens including the reply. Shorten the prompt.",
                param="prompt",
            )
    n_tokens = sum(len(prompt.token_ids) for prompt in prompts)
    if asked.logprobs is not None and n_tokens * (asked.logprobs + 1) * asked.n > MAX_LOGPROBS:
        message = "So many log-probabilities do not fit in one answer. Send fewer prompts or a lower logprobs."
        raise UserError(message, param="logprobs")
    return prompts


def _prompt(loaded: LoadedModel, prompt: str | list[int]) -> Prompt:
    if isinstance(prompt, str):
        if len(prompt) > loaded.n_context * CHARACTERS_PER_TOKEN:
            raise ContextLengthExceeded(
                f"The prompt has {len(prompt):,} characters, the context of this model holds"
                f" {loaded.n_context:,} tokens. Shorten the prompt.",
                param="prompt",
            )
        return Prompt(prompt, tuple(loaded.tokenizer(prompt)["input_ids"]))
    n_vocabulary = loaded.model.get_input_embeddings().num_embeddings
    if any(not 0 <= token < n_vocabulary for token in prompt):
        raise UserError(f"A token id in the prompt is not between 0 and {n_vocabulary - 1}.", param="prompt")
    text = b"".join(map(loaded.token_bytes, prompt)).decode(errors="replace")
    return Prompt(text, tuple(prompt))
