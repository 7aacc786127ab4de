"""What came of the rows of a table, as lines of the log of its run."""

from typing import Any

from llm_app.classify.types import Outcome, Prediction, Unclassified
from llm_app.jobs.folder import RunFolder, Spec


def outcomes_of(folder: RunFolder) -> dict[int, Outcome]:
    """What a run has so far, by place of the item; of an item that was classified twice, the first outcome."""
    found: dict[int, Outcome] = {}
    for event in folder.events():
        outcome = outcome_of(event)
        if outcome is not None:
            found.setdefault(outcome.index, outcome)
    return found


def event_of(outcome: Outcome) -> dict[str, Any]:
    """An outcome as a line of events.jsonl."""
    if isinstance(outcome, Unclassified):
        chinese = {"reason_zh": outcome.reason_zh} if outcome.reason_zh else {}
        return {"type": "unclassified", "row": outcome.index, "reason": outcome.reason, **chinese}
    cut = {"cut": outcome.n_cut} if outcome.n_cut else {}
    return {"type": "prediction", "row": outcome.index, "scores": list(outcome.scores), **cut}


def outcome_of(event: Spec) -> Outcome | None:
    """The outcome that a line of events.jsonl holds, if it holds one. Raises: KeyError if it is not as we write it."""
    if event.get("type") == "prediction":
        return Prediction(event["row"], tuple(event["scores"]), event.get("cut", 0))
    if event.get("type") == "unclassified":
        return Unclassified(event["row"], event["reason"], event.get("reason_zh", ""))
    return None
