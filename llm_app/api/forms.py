"""The bodies of requests. A field that is not here is refused, so that nothing is ignored in silence."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from llm_app.config import SamplingConfig
from llm_app.errors import UserError
from llm_app.options import options_of

MAX_CHOICES = 8
MAX_PROMPTS = 128
DEFAULT_COMPLETION_TOKENS = 16  # of the legacy route, as OpenAI documents it
# What OpenAI's clients count on where they send nothing: the model's distribution as it is.
DEFAULTS = {"temperature": 1.0, "top_p": 1.0, "top_k": 0}

_OPTIONS = {item.name: info for item, info in options_of(SamplingConfig)}


def _option(name: str, *, at_least: float | None = None, above: float | None = None) -> Any:
    """A field with the range and the words of the sampling option, or a tighter range; null means the default."""
    info = _OPTIONS[name]
    least = info.min if at_least is None and above is None else at_least
    return Field(default=None, ge=least, gt=above, le=info.max, description=info.help[0])


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _as_parts(value: Any) -> Any:
    """Message content as a list of text parts; pictures, sounds and files are told apart from nonsense."""
    if isinstance(value, str):
        return [{"type": "text", "text": value}]
    if not isinstance(value, list):
        raise PydanticCustomError("content_type", "content must be a string or a list of text parts")
    for part in value:
        kind = part.get("type") if isinstance(part, dict) else None
        if isinstance(kind, str) and kind != "text":
            message = "Only text parts are supported; the model reads no other media."
            raise PydanticCustomError("unsupported_content_type", message)
    return value


def _as_prompts(value: Any) -> Any:
    """One prompt or several, as text or as token ids, always as a list of prompts."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, list) and value:
        if all(type(part) is int for part in value):
            return [value]
        if all(isinstance(part, str) for part in value):
            return value
        if all(isinstance(part, list) and all(type(token) is int for token in part) for part in value):
            return value
    message = "must be a string, a list of strings, a list of token ids, or a list of such lists"
    raise PydanticCustomError("prompt_type", message)


Stop = Annotated[list[str], Field(max_length=16)]


class Form(BaseModel):
    """Strict types: no string is read as a number, no number as a boolean."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class TextPart(Form):
    """A piece of a message's text."""

    type: Literal["text"]
    text: str


class ChatMessage(Form):
    """One turn of the conversation; `developer` is another word for `system`."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[
        list[TextPart],
        Field(min_length=1),
        BeforeValidator(_as_parts, json_schema_input_type=str | list[TextPart]),
    ]


class StreamOptions(Form):
    """What a stream carries besides the text."""

    include_usage: bool = False


class ResponseFormat(Form):
    """Only plain text is produced."""

    type: Literal["text"]


class SamplingForm(Form):
    """What both routes understand. top_k to n_beams are extensions of this server."""

    model: str = Field(description="An id from /v1/models.")
    max_tokens: int | None = _option("max_new_tokens", at_least=0)
    temperature: float | None = _option("temperature")
    top_p: float | None = _option("top_p", above=0)
    presence_penalty: float | None = _option("presence_penalty")
    frequency_penalty: float | None = _option("frequency_penalty")
    seed: int | None = _option("seed")
    stop: Annotated[Stop, BeforeValidator(_as_list, json_schema_input_type=str | Stop)] | None = None
    n: int = Field(default=1, ge=1, le=MAX_CHOICES, description="Answers to each prompt; answer i draws with seed + i.")
    stream: bool = False
    stream_options: StreamOptions | None = None
    logit_bias: dict[str, float] | None = Field(default=None, max_length=0, description="Only {} is accepted.")
    top_k: int | None = _option("top_k")
    min_p: float | None = _option("min_p")
    repetition_penalty: float | None = _option("repetition_penalty")
    no_repeat_ngram: int | None = _option("no_repeat_ngram")
    n_beams: int | None = _option("n_beams")

    @model_validator(mode="after")
    def _check_stream_options(self) -> "SamplingForm":
        if self.stream_options is not None and not self.stream:
            raise UserError("stream_options needs stream: true.", param="stream_options")
        return self

    @property
    def includes_usage(self) -> bool:
        """Whether a stream ends with a chunk that counts the tokens."""
        return self.stream_options is not None and self.stream_options.include_usage

    def sampling(self, *, max_new_tokens: int | None, n_logprobs: int | None) -> SamplingConfig:
        """The engine's options; what was not given is as OpenAI has it, or else off.

        Raises: UserError for options that do not go together.
        """
        if self.n_beams is not None and self.n_beams > 1:
            if self.n > 1:
                raise UserError("A beam search has one answer. Send n: 1 or n_beams: 1.", param="n")
            if n_logprobs is not None:
                raise UserError("A beam search gives no log-probabilities. Send n_beams: 1.", param="logprobs")
        given = {name: getattr(self, name, None) for name in _OPTIONS}
        chosen: dict[str, Any] = DEFAULTS | {name: value for name, value in given.items() if value is not None}
        if self.stop is not None:
            chosen["stop"] = tuple(self.stop)
        if max_new_tokens is not None:
            chosen["max_new_tokens"] = max_new_tokens
        return SamplingConfig(**chosen, n_logprobs=n_logprobs)


class ChatRequest(SamplingForm):
    """The body of POST /v1/chat/completions."""

    messages: list[ChatMessage] = Field(min_length=1)
    max_tokens: int | None = _option("max_new_tokens")
    max_completion_tokens: int | None = _option("max_new_tokens")
    logprobs: bool | None = None
    top_logprobs: int | None = Field(default=None, ge=0, le=20)
    response_format: ResponseFormat | None = None

    @model_validator(mode="after")
    def _check_together(self) -> "ChatRequest":
        if self.top_logprobs is not None and not self.logprobs:
            raise UserError("top_logprobs needs logprobs: true.", param="top_logprobs")
        if None not in (self.max_tokens, self.max_completion_tokens) and self.max_tokens != self.max_completion_tokens:
            raise UserError("max_tokens and max_completion_tokens differ. Send one of them.", param="max_tokens")
        return self


class CompletionRequest(SamplingForm):
    """The body of POST /v1/completions."""

    prompt: Annotated[
        list[str] | list[list[int]],
        BeforeValidator(_as_prompts, json_schema_input_type=str | list[str] | list[int] | list[list[int]]),
    ]
    echo: bool = False
    logprobs: int | None = Field(default=None, ge=0, le=20)
    best_of: Literal[1] | None = Field(default=None, description="Only 1 is accepted.")

    @model_validator(mode="after")
    def _check_together(self) -> "CompletionRequest":
        if len(self.prompt) > MAX_PROMPTS:
            raise UserError(f"A request takes at most {MAX_PROMPTS} prompts, not {len(self.prompt)}.", param="prompt")
        if self.max_tokens == 0 and not self.echo:
            raise UserError("max_tokens may be 0 only with echo: true.", param="max_tokens")
        return self
