"""What a benchmark keeps in its folder, written and read back without anything heavy: questions, answers, scores."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eval.types import Answer, Result
from llm_app.engine.room import Room
from llm_app.errors import UserError
from llm_app.jobs.folder import EVENTS, RunFolder, read_event

ASKED = "asked.jsonl"  # a line for each sample of each task; see `asked`


def results_of(folder: RunFolder) -> dict[str, list[Result]]:
    """What a run has so far, by task; of a sample that was answered twice, the first answer."""
    results: dict[str, dict[int, Result]] = {}
    for event in folder.events():
        if event.get("type") == "result":
            result = result_of(event)
            results.setdefault(event["task"], {}).setdefault(result.sample, result)
    return {task: list(found.values()) for task, found in results.items()}


def event_of(task: str, result: Result) -> dict[str, Any]:
    """A result as a line of events.jsonl."""
    return {
        "type": "result", "task": task, "sample": result.sample, "error": result.error,
        "answers": [plain(answer) for answer in result.answers],
        "scores": {name: plain(value) for name, value in result.scores.items()},
        **({"cut": result.n_cut} if result.n_cut else {}),
    }


def result_of(event: Mapping[str, Any]) -> Result:
    """What `event_of` wrote."""
    answers = tuple(_read_answer(answer) for answer in event["answers"])
    scores = {name: read_plain(value) for name, value in event["scores"].items()}
    return Result(event["sample"], answers, scores, event["error"], event.get("cut", 0))


def unanswered_event(task: str, result: Result) -> dict[str, Any]:
    """The line that stands for a sample which failed for a passing reason; it is no result, resuming asks it again."""
    return {"type": "unanswered", "task": task, "sample": result.sample, "reason": result.error}


def room_event(room: Room) -> dict[str, Any]:
    """How much is asked at once from here on, since memory was short."""
    return {"type": "room", "tokens": room.tokens, "replies": room.replies}


def room_of(folder: RunFolder) -> Room:
    """How much the run asked at once in the end: going on so, it gets the batches that it would have got."""
    try:
        lines = (folder.path / EVENTS).read_bytes().split(b"\n")[:-1]
    except FileNotFoundError:
        return Room()
    found = [event for line in lines if b'"type": "room"' in line[:20] and (event := read_event(line)) is not None]
    return Room(found[-1]["tokens"], found[-1]["replies"]) if found else Room()


def plain(value: Any) -> Any:
    """A value as JSON has it: numpy's numbers as Python's, a number that is not finite as {"number": "nan"}."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, float) and not math.isfinite(value):
        return {"number": str(value)}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)


def read_plain(value: Any) -> Any:
    """What `plain` wrote, with its numbers."""
    if isinstance(value, Mapping):
        return _read_number(value) if value.keys() == {"number"} else {k: read_plain(v) for k, v in value.items()}
    return [read_plain(item) for item in value] if isinstance(value, list) else value


def has_asked(folder: RunFolder) -> bool:
    """Whether the questions are there; they are written whole."""
    return (folder.path / ASKED).is_file()


def read_asked(path: Path) -> dict[str, dict[int, dict[str, Any]]]:
    """Questions of a run by task and sample.

    Raises: UserError if the run has none, or they are damaged.
    """
    asked: dict[str, dict[int, dict[str, Any]]] = {}
    try:
        for line in (path / ASKED).read_text(encoding="utf-8", errors="surrogatepass").split("\n"):
            if line:
                row = asked_row(line)
                asked.setdefault(row["task"], {})[row["sample"]] = row
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise UserError(f"Run {path.name} has no readable {ASKED}. Run the benchmark again.", param="run") from error
    return asked


def asked_row(line: str | bytes) -> dict[str, Any]:
    """The question in one line of ASKED.

    Raises: ValueError, KeyError, TypeError, IndexError if it is damaged.
    """
    row: dict[str, Any] = json.loads(line)
    row["requests"] = _whole(row["requests"])
    return row


def _whole(requests: list[list[str | None]]) -> list[tuple[str, str]]:
    """None stands for the text of the request before."""
    texts: list[tuple[str, str]] = []
    for text, continuation in requests:
        texts.append((texts[-1][0] if text is None else text, continuation or ""))
    return texts


def _read_answer(answer: Any) -> Answer:
    if isinstance(answer, list):
        value, is_greedy = answer
        return _read_number(value), bool(is_greedy)
    return answer if isinstance(answer, str) else _read_number(answer)


def _read_number(value: Any) -> float:
    return float(value["number"]) if isinstance(value, Mapping) else float(value)
