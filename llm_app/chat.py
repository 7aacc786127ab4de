"""History to context window to streamed reply."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from llm_app.config import SamplingConfig
from llm_app.engine.host import Host
from llm_app.engine.loading import LoadedModel
from llm_app.errors import ContextLengthExceeded, UserError
from llm_app.messages import Message, Stream
from llm_app.remote.address import REMOTE

CHARACTERS_PER_TOKEN = 32  # longer than any text that could fit; checked before it is tokenised
MIN_REPLY_TOKENS = 64  # room kept for the reply when turns are cut, if the context allows


@dataclass(frozen=True)
class Prompt:
    """A conversation as the model gets it. `n_dropped` messages were cut from the front."""

    text: str
    token_ids: tuple[int, ...]
    n_dropped: int = 0


def render(
    loaded: LoadedModel,
    messages: Sequence[Message],
    *,
    reply_prefix: str = "",
    max_new_tokens: int = 0,
    trim: bool = False,
) -> Prompt:
    """The prompt of a conversation; without a chat template, the plain text to be continued.

    `trim`: drop the oldest turns until the prompt leaves room for a reply; system messages stay. Otherwise a
    conversation that is too long raises ContextLengthExceeded, with both counts.
    """
    _check(messages)
    room = max(1, min(max_new_tokens, MIN_REPLY_TOKENS, loaded.n_context // 4)) if trim else 1
    system = [message for message in messages if message.role == "system"]
    turns = [message for message in messages if message.role != "system"]

    def attempt(start: int) -> Prompt:
        text = _render_text(loaded, system + turns[start:] if start else messages) + reply_prefix
        too_long = len(text) > loaded.n_context * CHARACTERS_PER_TOKEN
        return Prompt(text, () if too_long else encode(loaded, text), start)

    def fits(prompt: Prompt) -> bool:
        return 0 < len(prompt.token_ids) <= loaded.n_context - room

    prompt = attempt(0)
    if trim and not fits(prompt):
        # Halving, not one turn after the other: each attempt renders and tokenises what is left.
        starts = [i for i, message in enumerate(turns) if message.role == "user" and i > 0]
        at = bisect_left(starts, True, key=lambda start: fits(attempt(start)))
        if starts:
            prompt = attempt(starts[min(at, len(starts) - 1)])
    if fits(prompt):
        return prompt
    size = f"{len(prompt.token_ids):,} tokens" if prompt.token_ids else f"{len(prompt.text):,} characters"
    raise ContextLengthExceeded(
        f"The conversation has {size}, the context of this model holds {loaded.n_context:,} tokens including the reply."
        " Shorten the last message or remove earlier ones.",
        param="messages",
    )


def encode(loaded: LoadedModel, text: str) -> tuple[int, ...]:
    """Token ids of a rendered prompt. A template writes its own special tokens; plain text gets the tokenizer's."""
    return tuple(loaded.tokenizer(text, add_special_tokens=loaded.template is None)["input_ids"])


@dataclass(frozen=True)
class Turn:
    """A reply under way, and what is known of it before its first token.

    Of a model on another server, 0 stands for numbers of tokens that only that server knows.
    """

    stream: Stream
    model: str
    precision: str
    n_context: int
    n_prompt_tokens: int
    n_dropped: int


def begin(
    host: Host, messages: Sequence[Message], sampling: SamplingConfig, *, adapter: str | None = None, trim: bool = False
) -> Turn:
    """One chat turn; closing its stream stops it. It starts at once: a full queue raises here."""
    remote = host.remote
    if remote is not None:
        _check(messages)
        return Turn(remote.reply(messages, sampling), remote.name, REMOTE, remote.n_context, 0, 0)
    loaded = host.loaded
    prompt = render(
        loaded, messages, reply_prefix=sampling.reply_prefix, max_new_tokens=sampling.max_new_tokens, trim=trim
    )
    stream = host.stream(prompt.token_ids, sampling, adapter=adapter)
    return Turn(
        stream, loaded.entry.name, loaded.precision, loaded.n_context, len(prompt.token_ids), prompt.n_dropped
    )


def reply(
    host: Host, messages: Sequence[Message], sampling: SamplingConfig, *, adapter: str | None = None, trim: bool = False
) -> Stream:
    """The stream of a turn, for who needs no more of it."""
    return begin(host, messages, sampling, adapter=adapter, trim=trim).stream


def _check(messages: Sequence[Message]) -> None:
    if not any(message.content.strip("\0 \t\r\n") for message in messages if message.role != "system"):
        raise UserError("The message is empty. Write something first.", param="messages")
    for message in messages:
        try:
            message.content.encode("utf-8")
        except UnicodeEncodeError:
            raise UserError(
                "The text is not valid Unicode (it holds half of a surrogate pair).", param="messages"
            ) from None


def _render_text(loaded: LoadedModel, messages: Sequence[Message]) -> str:
    if loaded.template is None:
        return "\n".join(message.content for message in messages)
    return loaded.template.render(messages, add_generation_prompt=True)
