"""POST /v1/chat/completions."""

import time
import uuid
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from typing import Any

from fastapi import FastAPI, Request, Response

from llm_app import chat
from llm_app.api.body import body_schema, read_body
from llm_app.api.forms import ChatRequest
from llm_app.api.json_text import json_answer
from llm_app.api.logprobs import chat_logprobs
from llm_app.api.sse import EventStream
from llm_app.api.work import Target, Work, while_connected
from llm_app.config import SamplingConfig
from llm_app.messages import Delta, Message, Usage


def add_chat_routes(api: FastAPI, work: Work) -> None:
    """The route, on this engine."""
    @api.post("/v1/chat/completions", openapi_extra=body_schema(ChatRequest))
    async def chat_completions(request: Request) -> Response:
        """One answer (or n) to a conversation, at once or as a stream."""
        asked = await read_body(request, ChatRequest)
        target = work.target(asked.model)
        samplings = choices_of(_sampling(asked), asked.n)
        prompt = await work.written(chat.render, target.loaded, _messages(asked))
        answer = ChatAnswer(asked, target)

        pieces = work.replies(target, [prompt.token_ids] * asked.n, samplings)
        if asked.stream:
            return EventStream(work, pieces, answer)
        await while_connected(request.receive, answer.read(pieces))
        return await work.prepare(json_answer, answer.whole)


def choices_of(sampling: SamplingConfig, n: int) -> list[SamplingConfig]:
    """One sampling each for n answers to a prompt: a given seed counts up, so that the answers differ."""
    if sampling.seed is None:
        return [sampling] * n
    return [replace(sampling, seed=(sampling.seed + i) % 2**63) for i in range(n)]


def finish_reason(delta: Delta) -> str | None:
    """The reason in OpenAI's words: what ran out of time was cut as by length."""
    return "length" if delta.finish_reason == "time" else delta.finish_reason


def usage_body(usages: Sequence[Usage], n_prompt_tokens: int) -> dict[str, int]:
    """Tokens of all choices together."""
    n_output_tokens = sum(usage.n_output_tokens for usage in usages)
    return {
        "prompt_tokens": n_prompt_tokens,
        "completion_tokens": n_output_tokens,
        "total_tokens": n_prompt_tokens + n_output_tokens,
    }


class ChatAnswer:
    """Writes the pieces of n replies as chunks of a stream, or as one body."""

    def __init__(self, asked: ChatRequest, target: Target) -> None:
        self._asked = asked
        self._deltas: list[list[Delta]] = [[] for _ in range(asked.n)]
        self._usages: list[Usage] = []
        self._head = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": target.id,
                      "system_fingerprint": target.fingerprint}

    def opening(self) -> list[dict[str, Any]]:
        """The role of each choice."""
        return [self._chunk(index, {"role": "assistant", "content": ""}) for index in range(self._asked.n)]

    def of(self, index: int, delta: Delta) -> list[dict[str, Any]]:
        """The text of a piece, and the reason with the last one."""
        chunks = []
        if delta.text or delta.logprobs:
            logprobs = chat_logprobs(delta.logprobs) if self._asked.logprobs else None
            chunks.append(self._chunk(index, {"content": delta.text}, logprobs=logprobs))
        if delta.usage:
            self._usages.append(delta.usage)
        if delta.finish_reason:
            chunks.append(self._chunk(index, {}, reason=finish_reason(delta)))
        return chunks

    def closing(self) -> list[dict[str, Any]]:
        """The token counts, where they were asked for."""
        return [self._with_kind([], self._usage())] if self._asked.includes_usage else []

    async def read(self, pieces: AsyncGenerator[tuple[int, Delta], None]) -> None:
        """Take all pieces in, for `whole`."""
        async for index, delta in pieces:
            self._deltas[index].append(delta)
            if delta.usage:
                self._usages.append(delta.usage)

    def whole(self) -> dict[str, Any]:
        """The body of an answer that is not streamed."""
        choices = [self._choice(index, deltas) for index, deltas in enumerate(self._deltas)]
        return self._head | {"object": "chat.completion", "choices": choices, "usage": self._usage()}

    def _choice(self, index: int, deltas: Sequence[Delta]) -> dict[str, Any]:
        tokens = [token for delta in deltas for token in delta.logprobs]
        return {
            "index": index,
            "message": {"role": "assistant", "content": "".join(delta.text for delta in deltas), "refusal": None},
            "logprobs": chat_logprobs(tokens) if self._asked.logprobs else None,
            "finish_reason": finish_reason(deltas[-1]),
        }

    def _usage(self) -> dict[str, int]:
        return usage_body(self._usages, self._usages[0].n_prompt_tokens)

    def _chunk(
        self, index: int, delta: dict[str, Any], *, logprobs: dict[str, Any] | None = None, reason: str | None = None
    ) -> dict[str, Any]:
        return self._with_kind([{"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": reason}], None)

    def _with_kind(self, choices: list[dict[str, Any]], usage: dict[str, int] | None) -> dict[str, Any]:
        chunk = self._head | {"object": "chat.completion.chunk", "choices": choices}
        return chunk | {"usage": usage} if self._asked.includes_usage else chunk


def _messages(asked: ChatRequest) -> list[Message]:
    messages = []
    for message in asked.messages:
        text = "".join(part.text for part in message.content)
        messages.append(Message("system" if message.role == "developer" else message.role, text))
    return messages


def _sampling(asked: ChatRequest) -> SamplingConfig:
    n_logprobs = (asked.top_logprobs or 0) if asked.logprobs else None
    n_tokens = asked.max_completion_tokens if asked.max_completion_tokens is not None else asked.max_tokens
    return asked.sampling(max_new_tokens=n_tokens, n_logprobs=n_logprobs)
