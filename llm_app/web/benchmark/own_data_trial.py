"""A task file tried out before it is kept: which rows it can use, and what the model would be asked first."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast, get_args

import yaml

from eval.tasks.harness import HarnessTask, TaskOptions
from eval.tasks.own import describe, own_task, roles
from eval.tasks.own_docs import PROMPTS, Doc, Dropped, NoUsableRow, read_docs
from eval.tasks.own_file import KINDS, AnswerForm, Kind, read_task_file
from eval.types import EvaluationError, Model, Request
from llm_app.errors import UserError
from llm_app.web.benchmark.own_data_guess import ROLES
from llm_app.web.benchmark.own_data_shelf import CHECK, Draft

FORMS = ("auto", *get_args(AnswerForm))
MAX_PROMPT_CHARACTERS = 20_000
MAX_SHOWN_DROPPED = 200


@dataclass(frozen=True)
class Asked:
    """A task as the form describes it: column by role, several where a role takes them."""

    name: str
    kind: Kind
    columns: Mapping[str, str | Sequence[str]]
    prompt: str
    language: str
    answers: str = "auto"
    skips_bad_rows: bool = False


@dataclass(frozen=True)
class Trial:
    """What came of trying it: the first sample as the model would get it, and each row that cannot be used.

    Without a usable row there is no sample, and no right answer.
    """

    text: str
    n_usable: int
    dropped: tuple[Dropped, ...]
    requests: tuple[Request, ...]
    right: tuple[str, ...]  # target, references, or the right choice
    uses_template: bool

    @property
    def n_rows(self) -> int:
        """All rows of the file."""
        return self.n_usable + len(self.dropped)

    @property
    def n_dropped(self) -> int:
        """Rows that cannot be used."""
        return len(self.dropped)


def checked(draft: Draft, raw: Mapping[str, Any]) -> Asked:
    """The task that a form asks for, whatever a browser sent.

    Raises: UserError naming the field.
    """
    for field in ("name", "prompt", "language", "answers", "kind"):
        if not isinstance(raw[field], str):
            raise UserError(f"{field} must be text.", param=field)
    if raw["kind"] not in KINDS:
        raise UserError(f"kind must be one of {', '.join(KINDS)}.", param="kind")
    if raw["answers"] not in FORMS:
        raise UserError(f"answers must be one of {', '.join(FORMS)}.", param="answers")
    if len(raw["prompt"]) > MAX_PROMPT_CHARACTERS:
        raise UserError(f"The prompt has more than {MAX_PROMPT_CHARACTERS:,} characters.", param="prompt")
    kind = cast(Kind, raw["kind"])
    columns = {role: _column(draft, role, raw["columns"].get(role)) for role in ROLES[kind]}
    return Asked(
        raw["name"].strip(), kind, columns, raw["prompt"].replace("\r\n", "\n"), raw["language"], raw["answers"],
        skips_bad_rows=raw["skips_bad_rows"] is True,
    )


def _column(draft: Draft, role: str, value: object) -> str | list[str]:
    given = value if isinstance(value, list) else [value]
    if not given or any(column is None or column == "" for column in given):
        raise UserError(f"Choose the column for {role}.", param=role)
    columns = [column for column in given if isinstance(column, str) and column in draft.columns]
    if len(columns) < len(given):
        raise UserError(f"{draft.data} has no such column for {role}. Choose one of its own.", param=role)
    return columns[0] if len(columns) == 1 else columns


def default_prompt(kind: Kind, language: str) -> str:
    """The prompt that a kind begins with."""
    return PROMPTS[kind][language.split("-")[0] == "zh"]


def task_text(draft: Draft, asked: Asked) -> str:
    """The task file. A role that an edited prompt no longer names is left out."""
    used = set(roles(asked.kind, asked.prompt))
    options: dict[str, Any] = {}
    if asked.kind == "multiple_choice" and asked.answers != "auto":
        options["answers"] = asked.answers
    if asked.skips_bad_rows:
        options["skip_bad_rows"] = True
    columns = {role: column for role, column in asked.columns.items() if role in used and role != column}
    return describe(
        draft.data, asked.kind, columns, name=asked.name, prompt=asked.prompt, language=asked.language, options=options
    )


def attempt(draft: Draft, asked: Asked, model: Model | None, *, uses_template: bool) -> Trial:
    """Read all rows and ask nothing; rows that cannot be used are listed, whether they are to be skipped or not.

    Raises: UserError if the upload is gone, EvaluationError for what cannot be a task.
    """
    text = task_text(draft, asked)
    if not draft.folder.is_dir():
        raise UserError("The uploaded file is no longer here. Upload it again.", param="data")
    path = draft.folder / f"{CHECK}{secrets.token_hex(8)}.yaml"  # others may be tried at the same time
    path.write_text(yaml.safe_dump({**yaml.safe_load(text), "skip_bad_rows": True}), encoding="utf-8")
    try:
        docs = read_docs(path, read_task_file(path))
        options = TaskOptions(limit=1, n_bootstrap=0, uses_chat_template=uses_template and model is not None)
        sample = HarnessTask(own_task(path, model.count_tokens if model else None), options, model).samples[0]
    except NoUsableRow as error:
        return Trial(text, 0, error.dropped, (), (), False)
    except EvaluationError as error:  # of a file that nobody has seen
        raise EvaluationError(str(error).removeprefix(f"{path.name}: ")) from error
    finally:
        path.unlink(missing_ok=True)
    right = _right(docs.samples[0], docs.labels)
    return Trial(text, len(docs.samples), tuple(docs.dropped), sample.requests, right, options.uses_chat_template)


def _right(doc: Doc, labels: Sequence[str]) -> tuple[str, ...]:
    target = doc["target"]
    if isinstance(target, int):
        return ((doc.get("choices") or labels)[target],)
    return tuple(target) if isinstance(target, list) else (str(target),)
