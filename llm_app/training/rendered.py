"""An example as text: what the chat shows the model, and where in it the answers stand.

A chat template says nowhere where an answer begins. But the chat gives the model the conversation so far with the
generation prompt, and what follows is the model's: so an answer begins where that prompt ends, whatever the template.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from os.path import commonprefix
from typing import Any

from llm_app.data.types import Example, Turn
from llm_app.engine.sandbox import MARKS
from llm_app.engine.template import ChatTemplate
from llm_app.errors import UserError

# Contents that no template has a rule for; they share neither their first nor their last character.
_STAND_INS = ("Xq7Z", "Yk4W", "zj3v")
_HEADER = 8  # characters before an answer that tell where the generation prompt ends
_REASONING = re.compile(r"\s*<(\w+)>\s*")
_MARKING = re.compile(r"{%[-+]?\s*generation\b")
Span = tuple[int, int]


@dataclass(frozen=True)
class Rendered:
    """`answers`: the characters that the model is to write. `is_open`: nothing in the text ends the last one.

    `n_masked`: answers to be trained that are not, since the chat would ask for them in other words.
    """

    text: str
    answers: tuple[Span, ...]
    is_open: bool
    n_masked: int = 0


@dataclass(frozen=True)
class Habits:
    """What a template does around every answer.

    `last_end`, `inner_end`: what follows an answer up to the token that ends the turn, in the last turn and before
    another question; empty where there is no such token. `opening`: what the generation prompt says beyond the
    header of a finished answer, such as the beginning of the reasoning. `shows_tools`, `shows_calls`: whether it
    writes what may be called, and what an answer calls.
    """

    last_end: str = ""
    inner_end: str = ""
    opening: str = ""
    shows_tools: bool = False
    shows_calls: bool = False

    @classmethod
    def of(cls, template: ChatTemplate, tokens: Sequence[str]) -> "Habits":
        """`tokens`: texts of the tokenizer's added tokens; one of them ends a turn."""
        question, answer = {"role": "user", "content": _STAND_INS[0]}, {"role": "assistant", "content": _STAND_INS[1]}
        write = partial(_written, template)
        done, more = write([question, answer]), write([question, answer, question])
        asked = write([question], is_question=True)
        header, _, tail = done.rpartition(_STAND_INS[1])
        between = more.rpartition(_STAND_INS[1])[2].rpartition(_STAND_INS[0])[0]
        last_end = _through_token(tail, tokens)
        inner_end = _through_token(between, [token for token in tokens if last_end.endswith(token)])
        if last_end and not inner_end:
            # The last turn ends with another token than the others; but a lone one belongs to the question.
            first = _through_token(between, tokens)
            inner_end = first if _through_token(between[len(first) :], tokens) else ""
        called = answer | {"content": "", "tool_calls": [_tool(arguments={})]}
        return cls(
            last_end, inner_end, asked[len(commonprefix((asked, header))) :] if header else "",
            shows_tools=_STAND_INS[2] in write([question], tools=[_tool(description="", parameters={})]),
            shows_calls=_STAND_INS[2] in write([question, called]),
        )  # fmt: skip


def _tool(**more: Any) -> dict[str, Any]:
    return {"type": "function", "id": "a1b2c3d4e", "function": {"name": _STAND_INS[2], **more}}


def _written(
    template: ChatTemplate, turns: Sequence[Mapping[str, Any]], *, is_question: bool = False,
    tools: Sequence[Mapping[str, Any]] = (),
) -> str:
    """What the template makes of a conversation; nothing if it refuses it."""
    try:
        return template.render_turns(turns, add_generation_prompt=is_question, tools=tools)
    except UserError:
        return ""


def render(
    example: Example, template: ChatTemplate | None, habits: Habits, tokens: Sequence[str], now: datetime | None
) -> Rendered:
    """Raises: UserError if the template does not take the conversation."""
    if not example.turns:
        text = example.prompt + example.completion
        return Rendered(text, ((len(example.prompt), len(text)),), is_open=True)
    return _Conversation(example, template, habits, tokens, now).rendered()


class _Conversation:
    """One conversation on its way to text."""

    def __init__(
        self, example: Example, template: ChatTemplate | None, habits: Habits, tokens: Sequence[str],
        now: datetime | None,
    ) -> None:
        self.example, self.template, self.habits, self.tokens, self.now = example, template, habits, tokens, now
        self.turns = [as_message(turn) for turn in example.turns]
        self.text = self._whole = self._write(self.turns)
        self._is_joined = False

    def rendered(self) -> Rendered:
        """The text with the spans of the trained answers."""
        wanted = [i for i, turn in enumerate(self.example.turns) if turn.role == "assistant" and turn.is_trained]
        if self.template and not self.habits.shows_calls and any("tool_calls" in self.turns[i] for i in wanted):
            # What is left of such an answer would teach the model to say nothing.
            raise UserError("This model's chat template has no place for an answer that calls a tool.", param="data")
        last = len(self.turns) - 1
        final = [self._last(last)] if last in wanted else []
        answers = [span for i in wanted if i != last and (span := self._inner(i)) is not None]
        return Rendered(
            self.text, self._marked([*answers, *final]), is_open=bool(final) and not self.habits.last_end,
            n_masked=len(wanted) - len(answers) - len(final),
        )  # fmt: skip

    def _last(self, number: int) -> Span:
        """The last answer; the text ends with it."""
        prompt, opening = self._prompt(number), self.habits.opening
        start = self._start(number, prompt.removesuffix(opening) if prompt else None)
        end = self._end(number, start, self.habits.last_end) or len(self.text)
        if prompt is None or self.text.startswith(prompt):
            self.text = self.text[:end]
            return start, end
        # The finished conversation has no such prompt in it, but the chat has: what it asks, then the answer.
        answer = self.text[start:end]
        if (tag := _REASONING.fullmatch(opening)) is not None and prompt.endswith(opening):
            answer = self._reasoned(number, tag)
        self.text, self._whole, self._is_joined = prompt + answer, prompt, True
        return len(prompt), len(self.text)

    def _reasoned(self, number: int, tag: re.Match[str]) -> str:
        """The last answer after a generation prompt that opens the reasoning."""
        turn, close = self.turns[number], f"\n</{tag[1]}>\n\n"
        content, reasoning = str(turn["content"]).strip(), str(turn.get("reasoning_content") or "").strip()
        if content.startswith(tag[0].strip()):
            return content.removeprefix(tag[0].strip()).lstrip("\n") + self.habits.last_end
        # Without any reasoning the model learns to close it at once.
        return reasoning + close + content + self.habits.last_end

    def _inner(self, number: int) -> Span | None:
        """Where an answer before the last turn stands; None where the chat would ask for it in other words."""
        if self.habits.opening.strip():
            return None
        start, end = self._start(number, self._prompt(number)), 0
        if self.turns[number].keys() - {"role", "content"}:
            # A call of a tool may end with another token than an answer.
            upto = len(commonprefix((self.text, self._write(self.turns[: number + 1]))))
            end = max((_after(self.text, token, start, upto) for token in self.tokens), default=0)
        end = end or self._end(number, start, self.habits.inner_end) or 0
        return (start, end) if end > start else None

    def _start(self, number: int, prompt: str | None) -> int:
        """Where the answer begins: after what the chat gives the model at this point."""
        if prompt is not None and self.text.startswith(prompt):
            return len(prompt)
        # Some templates write a turn differently later on, such as a system prompt that moves to the last question.
        at = self._content(number)[0]
        space = range(len(self.text[:at].rstrip()), at)
        # The space before an answer is part of it where the generation prompt ends without any.
        return next((i for i in space if prompt and prompt.endswith(self.text[max(0, i - _HEADER) : i])), at)

    def _end(self, number: int, start: int, end: str) -> int | None:
        """Where the turn ends that begins at `start`."""
        if not end or end in str(self.turns[number]["content"]):
            start = max(start, self._content(number)[1])
        at = self.text.find(end, start)
        return at + len(end) if at >= 0 else None

    def _content(self, number: int) -> Span:
        """Where the content of a turn stands: what changes in the text when something else is said there."""
        whole = self._whole
        start, n_after = len(whole), len(whole)
        for stand_in in _STAND_INS[:2]:
            turns = [*self.turns[:number], self.turns[number] | {"content": stand_in}, *self.turns[number + 1 :]]
            other = self._write(turns[:-1], is_question=True) if self._is_joined else self._write(turns)
            start = min(start, len(commonprefix((whole, other))))
            n_after = min(n_after, _n_common_end(whole, other))
        return start, max(start, len(whole) - n_after)

    def _marked(self, answers: Sequence[Span]) -> tuple[Span, ...]:
        """Of the answers, what the template itself marks for training, and the end of the turn."""
        if self.template is None or not _MARKING.search(self.template.source):
            return tuple(answers)
        marked = self.template.render_turns(
            self.turns, add_generation_prompt=False, tools=self.example.tools, now=self.now, is_marking=True
        )
        plain, spans = without_marks(marked)
        if not spans or not plain.startswith(self.text):
            return tuple(answers)
        kept = []
        for start, end in answers:
            kept += [(max(start, a), min(end, b)) for a, b in spans if a < end and b > start]
            if kept and kept[-1][1] < end:  # the marks leave the end of the turn out, and the model would never stop
                kept.append((kept[-1][1], end))
        return tuple(kept)

    def _prompt(self, number: int) -> str | None:
        """What the chat gives the model before this turn; None if the template does not ask then."""
        try:
            return self._write(self.turns[:number], is_question=True)
        except UserError:
            return None

    def _write(self, turns: Sequence[Mapping[str, Any]], *, is_question: bool = False) -> str:
        if self.template is None:
            return "\n".join(str(turn["content"]) for turn in turns)
        return self.template.render_turns(
            turns, add_generation_prompt=is_question, tools=self.example.tools, now=self.now
        )


def as_message(turn: Turn) -> dict[str, Any]:
    """A turn as templates take it."""
    return {"role": turn.role, "content": turn.content, **turn.extra}


def without_marks(text: str) -> tuple[str, list[Span]]:
    """The text without sandbox.MARKS, and what stood between them."""
    before, after = MARKS
    plain, spans = "", []
    for number, part in enumerate(text.split(before)):
        inside, mark, rest = part.partition(after)
        if number and mark:
            spans.append((len(plain), len(plain) + len(inside)))
        plain += inside + rest
    return plain, spans


def _through_token(text: str, tokens: Sequence[str]) -> str:
    """The beginning of the text through the first of the tokens; nothing if there is none."""
    found = [(at, -len(token), token) for token in tokens if (at := text.find(token)) >= 0]
    if not found:
        return ""
    at, _, token = min(found)
    return text[: at + len(token)]


def _after(text: str, part: str, start: int, end: int) -> int:
    """Where the last occurrence in that stretch ends; 0 if there is none."""
    at = text.rfind(part, start, end)
    return at + len(part) if at >= 0 else 0


def _n_common_end(one: str, other: str) -> int:
    return len(commonprefix((one[::-1], other[::-1])))
