"""Chat templates: conversation in, prompt text out, whatever the template's author had in mind."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from llm_app.engine import sandbox
from llm_app.errors import ModelRejected, UserError
from llm_app.messages import Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MAX_SOURCE_CHARS = 200_000
_CHILD_SECONDS = 2.7
_accepted: set[str] = set()  # SHA-256 of sources that passed; a template that changed has another digest


def check_template(source: str) -> None:
    """Try the template out in a child process with little time, little memory and no environment.

    Raises: ModelRejected with the reason, in less than three seconds.
    """
    if len(source) > MAX_SOURCE_CHARS:
        raise _rejected(f"it has {len(source):,} characters; {MAX_SOURCE_CHARS:,} are the limit")
    digest = _sha256(source)
    if digest in _accepted:
        return
    # Our own folder comes last, so that nothing in it passes for a module of Python; nobody's PYTHONPATH counts.
    start = "import sys; sys.path.append(sys.argv[1]); from llm_app.engine.sandbox import main; main()"
    command = [sys.executable, "-I", "-c", start, str(Path(sandbox.__file__).parents[2])]
    try:
        child = subprocess.run(  # noqa: S603 - our own file, by a list, without a shell
            command, input=json.dumps({"source": source}).encode(), capture_output=True, env={},
            timeout=_CHILD_SECONDS, check=False,
        )
    except subprocess.TimeoutExpired:
        raise _rejected("it does not come to an end") from None
    try:
        reason = json.loads(child.stdout)["reason"]
    except (ValueError, KeyError, TypeError):
        # Killed, by its limit on processor time or by the system for its memory.
        reason = "it needs too much memory" if b"MemoryError" in child.stderr else "it needs too much time or memory"
    if reason is not None:
        raise _rejected(str(reason))
    _accepted.add(digest)


@dataclass(frozen=True)
class ChatTemplate:
    """A checked chat template with the special tokens it may name (bos_token, eos_token...)."""

    source: str
    special_tokens: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_template(self.source)

    @classmethod
    def of(cls, tokenizer: "PreTrainedTokenizerBase") -> Self | None:
        """The tokenizer's template, the one called "default" if it has several; None if it has none.

        Raises: ModelRejected.
        """
        source = tokenizer.chat_template
        if isinstance(source, dict):
            source = source.get("default")
        return cls(source, dict(tokenizer.special_tokens_map)) if source else None

    @cached_property
    def digest(self) -> str:
        """SHA-256 of everything that shapes the prompt."""
        return _sha256(json.dumps([self.source, dict(self.special_tokens)], sort_keys=True))

    def render(self, messages: Sequence[Message], *, add_generation_prompt: bool = True) -> str:
        """The prompt for this conversation, character by character what transformers' apply_chat_template writes.

        Raises: UserError if the template does not take such a conversation.
        """
        turns = [{"role": message.role, "content": message.content} for message in messages]
        return self.render_turns(turns, add_generation_prompt=add_generation_prompt)

    def render_turns(
        self,
        turns: Sequence[Mapping[str, Any]],
        *,
        add_generation_prompt: bool,
        tools: Sequence[Mapping[str, Any]] = (),
        now: datetime | None = None,
        is_marking: bool = False,
    ) -> str:
        """The same for turns with more than role and content, such as tool calls, and tools that may be called.

        `now`: the date that the template may write; `is_marking`: what stands in {% generation %} is put between
        sandbox.MARKS.
        Raises: UserError if the template does not take such a conversation.
        """
        try:
            return sandbox.render(
                self.source, turns, self.special_tokens, add_generation_prompt=add_generation_prompt, tools=tools,
                now=now, is_marking=is_marking,
            )
        except sandbox.TemplateRefusal as error:
            raise UserError(f"This model's chat template does not take this conversation: {_one_line(error)}") from None
        except sandbox.PROVOKED as error:
            raise UserError(f"This model's chat template failed: {_one_line(error)}") from None


def _rejected(reason: str) -> ModelRejected:
    return ModelRejected(f"chat template rejected: {_one_line(reason)}.")


def _one_line(error: object) -> str:
    text = " ".join(str(error).split()).rstrip(".")
    return text if len(text) <= 300 else text[:299] + "…"


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", errors="surrogatepass")).hexdigest()
