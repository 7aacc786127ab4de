"""The task file: a few lines of YAML that make a task of a person's own data. What it may say, and what is wrong in it.

Nothing in it is code: no YAML tags, no templates beyond {{column}}, and data only from the file's own folder.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, get_args

import yaml

from eval.types import EvaluationError

Kind = Literal[
    "perplexity", "generation", "exact_match", "multiple_choice", "classification", "reply", "reply_perplexity",
]
AnswerForm = Literal["text", "letter", "from_0", "from_1"]
KINDS: tuple[Kind, ...] = get_args(Kind)
MAX_CHARS = 65_536  # of a task file
MAX_NEW_TOKENS = 4_096
MAX_LABELS = 1_000
# Keys that only some kinds know.
KEYS_OF_KINDS: Mapping[str, tuple[Kind, ...]] = {
    "prompt": KINDS[1:], "examples": KINDS[1:5], "shots": KINDS[1:5],
    "labels": ("classification",), "answers": ("multiple_choice",),
    **dict.fromkeys(("max_new_tokens", "stop"), ("generation", "exact_match", "reply")),
}
PLACEHOLDER = re.compile(r"\{\{\s*([^{}]*?)\s*\}\}")
_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,63}", re.ASCII)
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]+)*")


@dataclass(frozen=True)
class TaskFile:
    """What a task file says; None is the kind's own default."""

    name: str
    kind: Kind
    data: str
    columns: Mapping[str, str | tuple[str, ...]]  # what the prompt or the score calls it -> column, or several
    prompt: str | None = None
    examples: str | None = None
    shots: int | None = None
    language: str = "en"
    labels: Mapping[str, str] | None = None  # what the data says -> what the model says
    answers: AnswerForm | None = None
    max_new_tokens: int | None = None
    stop: tuple[str, ...] | None = None
    skip_bad_rows: bool = False

    @property
    def placeholders(self) -> list[str]:
        """Names between {{ and }} in the prompt, each once."""
        return list(dict.fromkeys(PLACEHOLDER.findall(self.prompt or "")))


def is_task_file(name: str) -> bool:
    """Whether a task is named by its file."""
    return name.lower().endswith((".yaml", ".yml"))


def placed(name: str) -> str:
    """The name of a task; of a task file its whole path, so that a run finds it again from another folder."""
    return str(Path(name).absolute()) if is_task_file(name) else name


def read_task_file(path: Path) -> TaskFile:
    """Raises: EvaluationError, one sentence, for anything that is not a task file."""
    try:
        return _checked(_content(path))
    except EvaluationError as error:
        raise EvaluationError(f"{path.name}: {error}") from None


def data_file(path: Path, name: str) -> Path:
    """A data file that a task file names, in the same folder or below.

    Raises: EvaluationError if it leads out of that folder, by "..", an absolute path or a link: a task file from
    elsewhere would make any file readable as prompts.
    """
    folder = path.resolve().parent
    try:
        found = (folder / name).resolve()
    except (OSError, ValueError, RuntimeError):  # a NUL, a loop of links
        raise EvaluationError(f"{path.name}: {name!r} is no file name.") from None
    if not found.is_relative_to(folder):
        raise EvaluationError(f"{path.name}: {name} lies outside the folder of the task file; put it beside it.")
    if not found.is_file():
        raise EvaluationError(f"{path.name}: there is no file {name} beside it.")
    return found


def _content(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise EvaluationError("there is no such file.")
    try:
        text = path.read_bytes()[: MAX_CHARS + 1].decode("utf-8-sig")
    except UnicodeDecodeError:
        raise EvaluationError("this is not UTF-8; save the file as UTF-8.") from None
    if len(text) > MAX_CHARS:
        raise EvaluationError("a task file is a few lines; this one is too long. Data goes into a file of its own.")
    try:
        content = yaml.safe_load(text)
    except yaml.constructor.ConstructorError as error:
        # A tag such as !function: what other tools run as code.
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise EvaluationError(f"YAML tags (words that begin with !) are not taken here{line}.") from None
    except yaml.MarkedYAMLError as error:
        line = f" in line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise EvaluationError(f"not valid YAML{line}: {error.problem}.") from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise EvaluationError(f"not valid YAML: {type(error).__name__}.") from None
    if not isinstance(content, dict):
        raise EvaluationError("a task file has lines such as `kind: classification`.")
    return content


def _checked(content: dict[Any, Any]) -> TaskFile:
    known = [field.name for field in fields(TaskFile)]
    for key in content:
        if key not in known:
            close = get_close_matches(str(key)[:64], known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(known)}."
            raise EvaluationError(f"there is no key {_shown(key)}; {hint}")
    for key in ("name", "kind", "data"):
        if content.get(key) is None:
            raise EvaluationError(f"the line `{key}: ...` is missing.")
    given = {key: _READERS[key](key, value) for key, value in content.items() if value is not None}
    given.setdefault("columns", {})
    file = TaskFile(**given)
    for key in given:
        kinds = KEYS_OF_KINDS.get(key, KINDS)
        if file.kind not in kinds:
            raise EvaluationError(f"{key} has no use for kind {file.kind}; it is for {', '.join(kinds)}.")
    return file


def _shown(value: Any) -> str:
    """A value in an error: short, and no walk through what YAML's aliases can blow up."""
    return repr(value[:40] if isinstance(value, str) else value) if isinstance(value, str | int | float) else (
        f"a {type(value).__name__}"
    )


def _text(key: str, value: Any) -> str:
    if isinstance(value, bool):
        word = "yes, no, on, off, true or false"
        raise EvaluationError(f"{key}: YAML reads {word} as a truth value; write it in quotes.")
    if isinstance(value, int | float):
        return str(value)
    if not isinstance(value, str) or not value:
        raise EvaluationError(f"{key} must be text, not {_shown(value)}.")
    return value


def _matching(pattern: re.Pattern[str], what: str) -> Callable[[str, Any], str]:
    def read(key: str, value: Any) -> str:
        text = _text(key, value)
        if not pattern.fullmatch(text):
            raise EvaluationError(f"{key} must be {what}, not {_shown(text)}.")
        return text

    return read


def _one_of(names: Sequence[str]) -> Callable[[str, Any], str]:
    def read(key: str, value: Any) -> str:
        if value not in names:
            raise EvaluationError(f"{key} must be one of {', '.join(names)}, not {_shown(value)}.")
        return str(value)

    return read


def _number(low: int, high: int) -> Callable[[str, Any], int]:
    def read(key: str, value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise EvaluationError(f"{key} must be a whole number from {low} to {high}, not {_shown(value)}.")
        return value

    return read


def _flag(key: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise EvaluationError(f"{key} must be true or false, not {_shown(value)}.")
    return value


def _texts(key: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        return (_text(key, value),)
    if not 1 <= len(value) <= MAX_LABELS:
        raise EvaluationError(f"{key} needs 1 to {MAX_LABELS:,} entries.")
    return tuple(_text(key, item) for item in value)


def _columns(key: str, value: Any) -> dict[str, str | tuple[str, ...]]:
    if not isinstance(value, dict) or len(value) > MAX_LABELS:
        raise EvaluationError(f"{key} must be lines such as `question: name of its column`.")
    return {
        _text(key, name): _texts(key, column) if isinstance(column, list) else _text(key, column)
        for name, column in value.items()
    }


def _labels(key: str, value: Any) -> dict[str, str]:
    pairs = list(value.items()) if isinstance(value, dict) else [(item, item) for item in _texts(key, value)]
    if len(pairs) > MAX_LABELS:
        raise EvaluationError(f"{key}: more than {MAX_LABELS:,}.")
    labels = {_text(key, name): _text(key, word) for name, word in pairs}
    if len(labels) < 2 or len(set(labels.values())) < len(pairs):
        raise EvaluationError(f"{key} must be two or more, all different.")
    return labels


_READERS: Mapping[str, Callable[[str, Any], Any]] = {
    "name": _matching(_NAME, "1 to 64 letters, digits, dots, dashes and underscores"),
    "kind": _one_of(KINDS), "data": _text, "columns": _columns, "prompt": _text, "examples": _text,
    "shots": _number(0, 100), "language": _matching(_LANGUAGE, "a code such as en, zh or ja"), "labels": _labels,
    "answers": _one_of(get_args(AnswerForm)), "max_new_tokens": _number(1, MAX_NEW_TOKENS), "stop": _texts,
    "skip_bad_rows": _flag,
}
