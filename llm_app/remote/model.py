"""A model on another server: which one it is, what it can do, its chat replies."""

import asyncio
import hashlib
import json
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from llm_app.config import ModelConfig, SamplingConfig
from llm_app.errors import GenerationFailed, RemoteFailed, UserError
from llm_app.messages import Delta, FinishReason, Message, Stream, Usage
from llm_app.remote.address import Address, read_key
from llm_app.remote.client import Client, RemoteBusy, RemoteMissing, RemoteUnreachable

LIST_SECONDS = 20.0  # for a server to say which models it has
SHOWN_NAMES = 8  # of a server's models in a sentence
# Of what /v1/models says, what changes though the model does not.
_PASSING = ("created", "permission")
# Sampling options by their OpenAI names, which every server knows.
_COMMON = {
    "temperature": "temperature", "top_p": "top_p", "max_new_tokens": "max_tokens", "stop": "stop", "seed": "seed",
    "presence_penalty": "presence_penalty", "frequency_penalty": "frequency_penalty",
}
# Not every server knows these, and some refuse what they do not know: sent only where they were set.
_EXTENSIONS = ("top_k", "min_p", "repetition_penalty", "no_repeat_ngram", "n_beams")


@dataclass(frozen=True)
class RemoteModel:
    """One model of one server. `described` is what /v1/models says of it, empty where the server does not list it."""

    client: Client
    address: Address
    described: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The address with the model's name: what a person types to have it again."""
        return str(self.address)

    @property
    def n_context(self) -> int:
        """Tokens of its context as the server tells them; 0 where it does not."""
        told = self.described.get("max_model_len")  # the name that vLLM gave it
        return told if isinstance(told, int) and told > 0 else 0

    @property
    def digest(self) -> str:
        """SHA-256 of all that is known of which model this is: its address, its name, what the server says of it."""
        known = {name: value for name, value in self.described.items() if name not in _PASSING}
        return hashlib.sha256(json.dumps([self.name, known], sort_keys=True).encode()).hexdigest()

    def reply(self, messages: Sequence[Message], sampling: SamplingConfig) -> Stream:
        """One chat turn, streamed; closing the stream closes the connection, at which servers stop.

        Raises: UserError for an option that no such server has; faults of the server come out of the stream.
        """
        seed = secrets.randbits(31) if sampling.seed is None else sampling.seed
        body = self._body(messages, sampling, seed)

        def hang_up() -> None:
            future.cancel()

        stream = Stream(seed, hang_up)
        future = self.client.start(self._tell(body, stream))
        return stream

    def close(self, grace_seconds: float) -> None:
        """Take nothing new, let what is under way end for so long, then end it."""
        self.client.close(grace_seconds)

    def _body(self, messages: Sequence[Message], sampling: SamplingConfig, seed: int) -> dict[str, Any]:
        if sampling.reply_prefix:
            raise UserError(
                "A model on another server cannot go on from a given beginning of a reply. Leave it empty.",
                param="reply_prefix",
            )
        usual = SamplingConfig()
        given = {theirs: getattr(sampling, ours) for ours, theirs in _COMMON.items()}
        set_here = [name for name in _EXTENSIONS if getattr(sampling, name) != getattr(usual, name)]
        given |= {name: getattr(sampling, name) for name in set_here} | {"seed": seed}
        # Off is left out: a server that does not have the option need not know it.
        off = {"presence_penalty": 0.0, "frequency_penalty": 0.0, "stop": ()}
        return {
            "model": self.address.model,
            "messages": [{"role": message.role, "content": message.content} for message in messages],
            "stream": True, "stream_options": {"include_usage": True},
            **{name: value for name, value in given.items() if name not in off or value != off[name]},
        }

    async def _tell(self, body: Mapping[str, Any], stream: Stream) -> None:
        """Put the reply into the stream as it comes, and how it ended."""
        try:
            reply = _Reply(stream.seed)
            async for event in self.client.events("/chat/completions", body):
                text = reply.take(event)
                if text:
                    stream.put(Delta(text))
            stream.put(reply.ending(self.address))
            stream.put(None)
        except asyncio.CancelledError:
            stream.put(GenerationFailed(f"{self.name} was unloaded before the reply ended."))
            raise
        except Exception as error:
            stream.put(error)


class _Reply:
    """What has come of a reply so far."""

    def __init__(self, seed: int) -> None:
        self._seed, self._started = seed, time.perf_counter()
        self._first_at: float | None = None
        self._reason: FinishReason | None = None
        self._usage: Mapping[str, Any] = {}

    def take(self, event: Mapping[str, Any]) -> str:
        """The text of an event; the last one may tell the reason and the cost as well."""
        if isinstance(event.get("usage"), dict):
            self._usage = event["usage"]
        choices = event.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
        if isinstance(choice.get("finish_reason"), str):
            self._reason = "length" if choice["finish_reason"] == "length" else "stop"
        delta = choice.get("delta")
        text = delta.get("content") if isinstance(delta, dict) else None
        if not isinstance(text, str) or not text:
            return ""
        self._first_at = self._first_at or time.perf_counter()
        return text.encode(errors="replace").decode()

    def ending(self, address: Address) -> Delta:
        """The last piece. Raises: RemoteFailed where the server gave no reason to end."""
        if self._reason is None:
            raise RemoteFailed(f"The reply of {address.url} broke off before its end.")
        now = time.perf_counter()
        n_prompt, n_output = (_count(self._usage, name) for name in ("prompt_tokens", "completion_tokens"))
        to_first = (self._first_at or now) - self._started
        usage = Usage(n_prompt, n_output, to_first, now - self._started, self._seed)
        return Delta("", finish_reason=self._reason, usage=usage)


def _count(usage: Mapping[str, Any], name: str) -> int:
    value = usage.get(name)
    return value if isinstance(value, int) and value > 0 else 0


def connect(config: ModelConfig, environ: Mapping[str, str]) -> RemoteModel:
    """The model at this address; the server is asked which models it has.

    Raises: UserError for an address that is none, or for what cannot be chosen from here; RemoteFailed where nothing,
    or no such model, answers.
    """
    for item in fields(ModelConfig):
        if item.name != "model" and getattr(config, item.name) != item.default:
            raise UserError(
                f"{item.name} cannot be chosen for a model on another server: that server decides.", param=item.name
            )
    address = Address.parse(config.model)
    client = Client(address.url, read_key(address, environ))
    try:
        described = _listed(client, is_named=bool(address.model))
        if not address.model:
            address = Address(address.url, _only(described, address.url))
    except BaseException:
        client.close()
        raise
    return RemoteModel(client, address, described.get(address.model, {}))


def _listed(client: Client, *, is_named: bool) -> dict[str, dict[str, Any]]:
    """What /v1/models says, by name. Where the model's name is known, a server that has no list will do.

    Raises: RemoteFailed.
    """
    asked = client.start(client.ask("GET", "/models"))
    try:
        found = asked.result(LIST_SECONDS).get("data")
    except TimeoutError:
        raise RemoteUnreachable(f"{client.url} did not say in {LIST_SECONDS:.0f} s which models it has.") from None
    except (RemoteMissing, RemoteBusy) as error:
        if is_named and not isinstance(error, RemoteUnreachable):
            return {}
        raise
    if not isinstance(found, list):
        raise RemoteFailed(f"{client.url} does not list models as OpenAI's API does. Does its address end in /v1?")
    return {entry["id"]: entry for entry in found if isinstance(entry, dict) and isinstance(entry.get("id"), str)}


def _only(described: Mapping[str, Any], url: str) -> str:
    names = list(described)
    if len(names) == 1:
        return names[0]
    if not names:
        raise UserError(f"{url} lists no model. Name the one you want: {url}#MODEL", param="model")
    shown = ", ".join(name[:80] for name in names[:SHOWN_NAMES]) + (", ..." if len(names) > SHOWN_NAMES else "")
    raise UserError(f"{url} has {len(names)} models: {shown}. Add one: {url}#MODEL", param="model")
