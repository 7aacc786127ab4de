"""What a model learns from, whatever file it came in."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from eval.files.strict_json import Refused


@dataclass(frozen=True)
class Origin:
    """Where an example stood: name of the data set, and its line there (of a text file), else its row; from 1."""

    dataset: str
    line: int


@dataclass(frozen=True)
class Turn:
    """One message.

    `is_trained`: an assistant's, unless the file says otherwise. `extra`: tool calls and the like, as templates take
    them.
    """

    role: str  # system, user, assistant or tool
    content: str
    is_trained: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Example:
    """Either a conversation (`turns`, put through the chat template) or raw text (`prompt` then `completion`).

    Plain text is a completion without a prompt. `tools`: what the template tells the model it may call.
    `rejected`: of a preference pair, the worse answer to the same turns or prompt; `turns` or `completion` hold the
    better one.
    """

    origin: Origin
    turns: tuple[Turn, ...] = ()
    prompt: str = ""
    completion: str = ""
    tools: tuple[Mapping[str, Any], ...] = ()
    rejected: str | None = None

    def text(self) -> str:
        """Everything that is said, a line a turn: what duplicates and overlaps are looked for in."""
        if self.turns:
            return "\n".join(turn.content for turn in self.turns)
        return self.prompt + self.completion

    def question(self) -> str:
        """What is said before and between the answers, a line a turn; of plain text the text itself."""
        if self.turns:
            return "\n".join(turn.content for turn in self.turns if turn.role != "assistant")
        return self.prompt or self.completion

    def digest(self) -> str:
        """SHA-256 of the content, wherever it came from."""
        turns = [[turn.role, turn.content, turn.is_trained, dict(turn.extra)] for turn in self.turns]
        content = [turns, self.prompt, self.completion, [dict(tool) for tool in self.tools], self.rejected]
        text = json.dumps(content, ensure_ascii=False, sort_keys=True, default=str)
        return hashlib.sha256(text.encode("utf-8", errors="surrogatepass")).hexdigest()


@dataclass(frozen=True)
class BadRow:
    """A row that became no example, and why, in English and in Chinese."""

    origin: Origin
    reason: str
    reason_zh: str = ""


@dataclass(frozen=True)
class Note:
    """Something the person should know about how a file was read: its encoding, its separator, what was left out."""

    text: str
    text_zh: str

    def __str__(self) -> str:
        return self.text


class RowRefused(Refused):
    """This row can be no example, for a reason in English and in Chinese; the others can."""


def bad_row(dataset: str, line: int, refused: Refused) -> BadRow:
    """A row that was refused, as it is listed."""
    return BadRow(Origin(dataset, line), refused.reason, refused.reason_zh)
