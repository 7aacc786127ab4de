"""A person's own data as a task: a data file, and a task file of a few lines that says what it is.

See docs/own-data.md.

    name: capitals
    kind: exact_match
    data: capitals.csv
    columns: {question: country, answer: capital}
    prompt: "What is the capital of {{question}}?\\nAnswer:"
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from eval.tasks.own_docs import NEEDS, PROMPTS, read_docs
from eval.tasks.own_file import PLACEHOLDER, Kind, is_task_file, placed, read_task_file
from eval.tasks.own_kinds import (
    Classification,
    CountTokens,
    ExactMatch,
    Generation,
    MultipleChoice,
    OwnTask,
    Perplexity,
)
from eval.tasks.own_reply import Reply, ReplyPerplexity
from eval.types import EvaluationError

__all__ = ["describe", "is_task_file", "own_task", "placed", "roles"]

CLASSES: Mapping[Kind, type[OwnTask]] = {
    "perplexity": Perplexity, "generation": Generation, "exact_match": ExactMatch, "multiple_choice": MultipleChoice,
    "classification": Classification, "reply": Reply, "reply_perplexity": ReplyPerplexity,
}


def own_task(path: Path, count_tokens: CountTokens | None = None) -> OwnTask:
    """The task that a task file describes.

    `count_tokens` gives the number of tokens of each text; without it there is no perplexity by token.
    Raises: EvaluationError, one sentence that says what to mend.
    """
    file = read_task_file(path)
    docs = read_docs(path, file)
    return CLASSES[file.kind](file, docs, count_tokens)


def roles(kind: Kind, prompt: str | None = None) -> list[str]:
    """What has to be found in columns: what the prompt names (default: the kind's own), and what the score needs."""
    named = PLACEHOLDER.findall(prompt if prompt is not None else PROMPTS[kind][0])
    return list(dict.fromkeys([*named, *NEEDS[kind]]))


def describe(
    data: str, kind: Kind, columns: Mapping[str, str | Sequence[str]], *, name: str | None = None,
    prompt: str | None = None, language: str = "en", options: Mapping[str, Any] | None = None,
) -> str:
    """Text of a task file for a data file's name, with the prompt written out so that it can be changed.

    `columns`: role -> column, or several. `options`: further keys, such as labels or max_new_tokens.
    """
    if kind not in CLASSES:
        raise EvaluationError(f"There is no kind {kind!r}; there are {', '.join(CLASSES)}.")
    stem = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "_" for c in Path(data).stem).lstrip("._-")
    prompt = prompt if prompt is not None else PROMPTS[kind][language.split("-")[0] == "zh"]
    content = {
        "name": name or stem[:64] or "own",
        "kind": kind,
        "data": data,
        "columns": {role: column if isinstance(column, str) else list(column) for role, column in columns.items()},
        "prompt": prompt or None,
        "language": language,
        **(options or {}),
    }
    given = {key: value for key, value in content.items() if value is not None}
    return str(yaml.safe_dump(given, sort_keys=False, allow_unicode=True, width=100))
