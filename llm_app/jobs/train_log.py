"""The log of a training run: what `training.events` tells, a line an event, and a few things besides."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

from llm_app.classify.training.events import Point, Scored
from llm_app.errors import UserError
from llm_app.jobs.folder import RunFolder
from llm_app.jobs.kept import plain, read_plain
from llm_app.training.events import Event, Note, Saved, Step, Validation


@dataclass(frozen=True)
class Phase:
    """What a run does before its first step: `data`, `model`, of a classifier `baselines`, `first`, the validation
    before it; and after its last: `writing`.
    """

    phase: str


@dataclass(frozen=True)
class Begun:
    """What the run trains, and on what: a resumed run must find the same."""

    model: Mapping[str, str]  # Identity of the base
    device: str
    dtype: str
    n_train: int
    n_validation: int
    split: Mapping[str, str]  # train, validation, test -> SHA-256 over the examples
    n_steps: int
    n_test: int = 0


@dataclass(frozen=True)
class Written:
    """What came of the run: `place` in its folder, of which step, and the name under which it is offered, if it is.

    `digest`: SHA-256 of its weights. A run that is resumed may write others in their place.
    """

    place: str
    step: int
    is_best: bool
    name: str | None = None
    digest: str = ""


@dataclass(frozen=True)
class Discarded:
    """Checkpoints and adapter were thrown away."""


Found = TypeVar("Found")
Told = Event | Point | Scored | Phase | Begun | Written | Discarded
KINDS: Mapping[str, type[Any]] = {
    "step": Step, "validation": Validation, "saved": Saved, "note": Note, "phase": Phase, "begun": Begun,
    "written": Written, "discarded": Discarded, "point": Point, "scored": Scored,
}
_NAMES = {kind: name for name, kind in KINDS.items()}


@dataclass(frozen=True)
class TrainLog:
    """A run as its log tells it. A resumed run makes some steps again: the last word on a step counts."""

    begun: Begun | None = None
    steps: list[Step] = field(default_factory=list)
    validations: list[Validation] = field(default_factory=list)
    points: list[Point] = field(default_factory=list)  # of a classifier, what validations are of others
    scored: list[Scored] = field(default_factory=list)  # the last word on each method and part
    notes: list[Note] = field(default_factory=list)
    written: Written | None = None
    is_discarded: bool = False

    @property
    def best(self) -> Validation | None:
        """The lowest validation loss, the first of equal ones."""
        return min(self.validations, key=lambda found: found.loss, default=None)


def line_of(told: Told) -> dict[str, Any]:
    """An event as a line of events.jsonl."""
    return {"type": _NAMES[type(told)], **plain(asdict(told))}


def told_of(line: Mapping[str, Any]) -> Told | None:
    """What `line_of` wrote; None for lines of other kinds.

    Raises: TypeError if it is damaged.
    """
    kind = KINDS.get(str(line.get("type")))
    if kind is None:
        return None
    values = {name: read_plain(value) for name, value in line.items() if name in kind.__dataclass_fields__}
    if "samples" in values:
        values["samples"] = tuple(tuple(sample) for sample in values["samples"])
    if "scores" in values:
        values["scores"] = {name: tuple(ends) for name, ends in values["scores"].items()}
    found: Told = kind(**values)
    return found


def read_log(folder: RunFolder) -> TrainLog:
    """All that a run has said.

    Raises: UserError if its log is damaged.
    """
    begun, written, is_discarded = None, None, False
    steps, validations, notes = dict[int, Step](), dict[int, Validation](), list[Note]()
    points, scored = dict[int, Point](), dict[tuple[str, str], Scored]()
    for number, line in enumerate(folder.events(), start=1):
        try:
            told = told_of(line)
        except TypeError as error:
            raise UserError(f"Line {number} of run {folder.id} is damaged. Start a new run.", param="run") from error
        match told:
            case Begun():
                begun = begun or told  # what it was at the beginning
            case Step():
                steps[told.step] = told
            case Validation():
                validations[told.step] = told
            case Point():
                points[told.step] = told
            case Scored():
                scored[told.method, told.part] = told
            case Note():
                notes.append(told)
            case Written():
                written = told
            case Discarded():
                is_discarded, written = True, None
    return TrainLog(
        begun, _by_step(steps), _by_step(validations), _by_step(points), list(scored.values()), notes, written,
        is_discarded,
    )


def _by_step(found: Mapping[int, Found]) -> list[Found]:
    return [found[step] for step in sorted(found)]
