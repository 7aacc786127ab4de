"""One reply under way: what was asked, what was said, and where it is read."""

import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from transformers import PreTrainedTokenizerBase

from llm_app.config import SamplingConfig
from llm_app.engine.detokenise import TextStream, TokenBytes
from llm_app.engine.sampling import Choice, Sampler
from llm_app.engine.turn import CHAT
from llm_app.errors import ContextLengthExceeded, UserError
from llm_app.messages import Delta, FinishReason, Stream, TokenLogprob, Usage

MAX_SECONDS = 1800.0  # a chat's reply that takes longer is ended, with the reason said


class Vocabulary(Protocol):
    """What a request needs of the loaded model."""

    tokenizer: PreTrainedTokenizerBase
    n_context: int
    eos_ids: frozenset[int]
    token_bytes: TokenBytes


@dataclass(frozen=True)
class Asked:
    """What wants a reply; `end_ids` are tokens that end it besides the model's own."""

    prompt_ids: Sequence[int]
    sampling: SamplingConfig
    end_ids: frozenset[int] = frozenset()


@dataclass(eq=False)
class Request:
    """A prompt and its reply in the making. Only the thread that decodes it touches it, `stream` apart."""

    prompt_ids: list[int]
    sampling: SamplingConfig
    adapter: str | None
    stream: Stream
    sampler: Sampler
    text: TextStream
    vocabulary: Vocabulary
    max_new_tokens: int
    rank: int  # CHAT, or BATCH for replies that nobody waits for
    end_ids: frozenset[int] = frozenset()  # these end the reply besides the model's own
    party: int = 0  # requests of one number share a batch that nobody else joins; 0 is the batch that is open to all
    n_cached: int = 0  # tokens whose keys and values are in the cache
    output_ids: list[int] = field(default_factory=list)
    finish_reason: FinishReason | None = None
    started: float = field(default_factory=time.perf_counter)
    first_token_at: float | None = None
    _is_prefix_sent: bool = False  # "start the reply with" is part of the reply
    _unsent: list[int] = field(default_factory=list)
    _logprobs: list[TokenLogprob] = field(default_factory=list)

    @property
    def key(self) -> tuple[int, str | None, int]:
        """What requests of one batch have in common."""
        return self.rank, self.adapter, self.party

    @property
    def n_prompt_left(self) -> int:
        """Prompt tokens still to be computed."""
        return len(self.prompt_ids) - self.n_cached

    @property
    def is_late(self) -> bool:
        """Whether it has taken longer than a reply may that somebody waits for."""
        return self.rank == CHAT and time.perf_counter() - self.started > MAX_SECONDS

    @property
    def is_over(self) -> bool:
        """Finished, or left by its reader."""
        return self.finish_reason is not None or self.stream.is_closed

    @property
    def n_needed(self) -> int:
        """Cache positions it may come to fill."""
        return len(self.prompt_ids) + self.max_new_tokens

    def take(self, choice: Choice) -> None:
        """Add a chosen token, pass on the text that became certain, and end the reply where it ends."""
        now = time.perf_counter()
        self.first_token_at = self.first_token_at or now
        self.sampler.accept(choice.token_id)
        self.output_ids.append(choice.token_id)
        is_end = choice.token_id in self.vocabulary.eos_ids and not self.sampling.ignore_eos
        if is_end or choice.token_id in self.end_ids:
            self.finish("stop")
            return
        self._unsent.append(choice.token_id)
        if choice.logprob is not None:
            self._logprobs.append(self._described(choice))
        text = self.text.push([choice.token_id])
        if self.text.is_stopped:
            self.finish("stop", text)
        elif len(self.output_ids) >= self.max_new_tokens:
            self.finish("length", text)
        elif self.is_late:
            self.finish("time", text)
        elif text or self._logprobs:
            self._send(text)

    def finish(self, reason: FinishReason, text: str = "") -> None:
        """Send what is left, with the reason and what the reply cost."""
        self.finish_reason = reason
        self._send(text + self.text.finish(), reason, self.usage())
        self.stream.put(None)

    def fail(self, error: Exception) -> None:
        """End with an error; what was sent before stays with the reader."""
        self.finish_reason = "cancelled"
        self.stream.put(error)

    def usage(self) -> Usage:
        """What the reply has cost so far."""
        now = time.perf_counter()
        first = (self.first_token_at or now) - self.started
        return Usage(len(self.prompt_ids), len(self.output_ids), first, now - self.started, self.sampler.seed)

    def _send(self, text: str, reason: FinishReason | None = None, usage: Usage | None = None) -> None:
        if not self._is_prefix_sent:
            text, self._is_prefix_sent = self.sampling.reply_prefix + text, True
        self.stream.put(Delta(text, tuple(self._unsent), tuple(self._logprobs), reason, usage))
        self._unsent, self._logprobs = [], []

    def _described(self, choice: Choice) -> TokenLogprob:
        data = self.vocabulary.token_bytes
        top = tuple(TokenLogprob(token, data(token), logprob) for token, logprob in choice.top)
        return TokenLogprob(choice.token_id, data(choice.token_id), choice.logprob or 0.0, top)


def new_request(
    vocabulary: Vocabulary,
    asked: Asked,
    adapter: str | None,
    wake: Callable[[], None],
    rank: int,
    party: int = 0,
) -> Request:
    """A request whose lengths are settled: the reply ends where the context ends at the latest.

    Raises: UserError for an empty prompt, ContextLengthExceeded for one that leaves no room for a reply.
    """
    prompt_ids, sampling, n_prompt = asked.prompt_ids, asked.sampling, len(asked.prompt_ids)
    if not n_prompt:
        raise UserError("The prompt is empty. Write something first.", param="prompt")
    room = vocabulary.n_context - n_prompt
    if room <= 0:
        raise ContextLengthExceeded(
            f"The prompt has {n_prompt:,} tokens, the context of this model holds {vocabulary.n_context:,}"
            " including at least one of the reply. Shorten the prompt.",
            param="messages",
        )
    seed = secrets.randbits(31) if sampling.seed is None else sampling.seed
    return Request(
        prompt_ids=list(prompt_ids),
        sampling=sampling,
        adapter=adapter,
        stream=Stream(seed, wake),
        sampler=Sampler(sampling, prompt_ids, seed),
        text=TextStream(vocabulary.tokenizer, sampling.stop, before=prompt_ids),
        vocabulary=vocabulary,
        max_new_tokens=min(sampling.max_new_tokens, room),
        rank=rank,
        end_ids=asked.end_ids,
        party=party,
    )
