"""What a training run held back, as tasks for a benchmark: asked word for word as training would have shown it.

Each example becomes a row with its prompt rendered by the chat template, or as it is; of a conversation, the last
answer is asked for. The rows lie in the training run's folder: they follow from it alone, so that writing them again
gives the same files, and a run that was interrupted finds its questions.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from eval.tasks.own import describe
from eval.tasks.own_file import MAX_NEW_TOKENS, Kind
from llm_app.data.types import Example
from llm_app.errors import UserError
from llm_app.jobs.folder import write_whole
from llm_app.training.encode import encode, spans

FOLDER = "held_back"  # in the folder of the training run
REPLIES, PERPLEXITY, TEXTS = "held_back", "held_back_perplexity", "held_back_text"
NAMES = (REPLIES, PERPLEXITY, TEXTS)
N_SAMPLES = 200  # at most, unless more are asked for
SPARE_TOKENS = 16  # beyond a quarter more than the longest reference


@dataclass(frozen=True)
class HeldBack:
    """Task files of what was held back.

    `n_left_out`: examples without an answer, cut off before its end, or refused by the chat template.
    """

    tasks: tuple[Path, ...]
    n_asked: int
    n_left_out: int
    uses_template: bool


@dataclass(frozen=True)
class _Row:
    """A question, the reference as it follows it, what ends it, and how many tokens both have."""

    prompt: str
    answer: str
    end: str
    n_tokens: int


def write_held_back(
    run: Path, examples: Sequence[Example], tokenizer: Any, *, max_length: int, now: datetime | None = None,
    n_samples: int = N_SAMPLES,
) -> HeldBack:
    """Write `n_samples` of them, chosen by their digests, as task files under the training run's folder.

    `now`: the date that the chat template wrote in training.
    Raises: UserError if none of them can be asked.
    """
    distinct = {example.digest(): example for example in examples}
    chosen = {id(distinct[digest]) for digest in sorted(distinct)[:n_samples]}
    asked = [example for example in distinct.values() if id(example) in chosen]
    texts = [example.completion for example in asked if _is_plain(example)]
    found = [_row(example, tokenizer, max_length, now) for example in asked if not _is_plain(example)]
    rows = [row for row in found if row is not None]
    if not rows and not texts:
        raise UserError(
            "None of the held-back examples can be asked: they hold no whole answer within the cut-off length.",
            param="run",
        )
    folder, tasks = run / FOLDER / str(n_samples), list[Path]()
    if rows:
        tokens = max(row.n_tokens for row in rows)
        options = {"max_new_tokens": min(MAX_NEW_TOKENS, tokens + tokens // 4 + SPARE_TOKENS)}
        data = [{"prompt": row.prompt, "answer": row.answer, "end": row.end} for row in rows]
        write_whole(folder / "replies.jsonl", "".join(_lines(data)))
        tasks.append(_write_task(folder, REPLIES, "reply", "replies.jsonl", options))
        tasks.append(_write_task(folder, PERPLEXITY, "reply_perplexity", "replies.jsonl"))
    if texts:
        write_whole(folder / "texts.jsonl", "".join(_lines([{"text": text} for text in texts])))
        tasks.append(_write_task(folder, TEXTS, "perplexity", "texts.jsonl"))
    uses_template = any(example.turns for example in asked)
    return HeldBack(tuple(tasks), len(rows) + len(texts), len(found) - len(rows), uses_template)


def _is_plain(example: Example) -> bool:
    return not example.turns and not example.prompt


def _row(example: Example, tokenizer: Any, max_length: int, now: datetime | None) -> _Row | None:
    """The last answer that the example trains and all before it; None if it has none, or not all of it is read."""
    try:
        encoded = encode(example, tokenizer, max_length=max_length, responses_only=True, now=now)
    except UserError:  # the run left such examples out of its other parts, and said why
        return None
    runs = spans(encoded, tokenizer)
    last = max((number for number, (_, is_trained) in enumerate(runs) if is_trained), default=0)
    if last == 0 or encoded.n_cut:
        return None
    said = example.completion if not example.turns else next(
        (turn.content for turn in reversed(example.turns) if turn.is_trained), ""
    )
    prompt, written, said = "".join(text for text, _ in runs[:last]), runs[last][0], said.strip()
    if not prompt or not said or said not in written:  # only a tool call, or the template rewrote it
        return None
    start, _, end = written.partition(said)
    n_tokens = len(tokenizer(written, add_special_tokens=False)["input_ids"])
    return _Row(prompt, start + said, end, n_tokens)


def _write_task(folder: Path, name: str, kind: Kind, data: str, options: Mapping[str, Any] | None = None) -> Path:
    return write_whole(folder / f"{name}.yaml", describe(data, kind, {}, name=name, options=options))


def _lines(rows: Sequence[Mapping[str, str]]) -> Iterator[str]:
    for row in rows:
        yield json.dumps(row, ensure_ascii=False) + "\n"
