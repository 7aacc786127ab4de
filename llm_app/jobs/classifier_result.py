"""What comes of a classifier's training: its folder, and what it and the baselines say of the rows held back."""

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

from llm_app import __version__
from llm_app.classify.config import ClassifierConfig
from llm_app.classify.encoder import USUAL_LENGTH
from llm_app.classify.folder import BaseModel, ClassifierFile, Method, write_note
from llm_app.classify.judged import FIRST_FIGURE, Judged, judge
from llm_app.classify.learned import write_learned
from llm_app.classify.table import LabelledTable, item_digest
from llm_app.classify.training.events import CHOSEN_BY, Scored
from llm_app.classify.training.temperature import fitted_temperature
from llm_app.classify.types import Classifier, Prediction
from llm_app.errors import UserError
from llm_app.jobs.classifier_material import ClassifierMaterial
from llm_app.jobs.folder import RunFolder, Spec, write_whole
from llm_app.jobs.kept import plain
from llm_app.jobs.train_log import Told, Written, read_log
from llm_app.jobs.train_result import CLASSIFIER, weights_digest
from llm_app.training.model_folder import write_note as write_origin
from llm_app.training.new_path import new_path

Made = Callable[[ClassifierFile], Classifier]


@dataclass(frozen=True)
class Reached:
    """Of which step the weights are, whether that one validated best, and whether the training came to its end."""

    step: int
    is_best: bool
    is_whole: bool


def placed(folder: RunFolder, base: BaseModel, at: Reached, write: Callable[[Path], None]) -> Written:
    """Put what was trained into the run's folder, in place of an earlier one. `write` fills an empty folder.

    Raises: UserError if it cannot be written.
    """
    path = folder.path / CLASSIFIER
    with new_path(path, replaces=True) as partial:
        partial.mkdir()
        write(partial)
        write_origin(partial, asdict(base), program=f"proofbench {__version__}")
    return Written(CLASSIFIER, at.step, at.is_best, digest=weights_digest(path))


class Result:
    """The folder of a run, as far as results go into it."""

    def __init__(self, folder: RunFolder, spec: Spec, config: ClassifierConfig, material: ClassifierMaterial) -> None:
        self._folder, self._spec, self.config, self._material = folder, spec, config, material
        self._before = {scored.method: scored for scored in read_log(folder).scored}

    def has(self, method: str) -> bool:
        """Whether a baseline was scored before the run was interrupted."""
        return method in self._before

    def scored(self, classifier: Classifier) -> Iterator[Scored]:
        """Classify the test rows (without any, those for validation), keep what was said, and score it."""
        method = str(classifier.identity().get("method", self.config.method))
        part, rows = ("test", self._material.test) if self._material.test.items else (
            "validation", self._material.validation
        )
        judged = _judged(classifier, rows)
        figures = figures_of(judged)
        if figures:
            name = f"predictions-{method}.jsonl"
            write_whole(self._folder.path / name, "".join(_lines(judged, rows)))
            made = Scored(method, part, len(judged.places), figures, name)
            self._before[method] = made
            yield made

    def file(self, method: str, *, max_length: int = USUAL_LENGTH, base: BaseModel | None = None) -> ClassifierFile:
        """What classifier.json says of this table's labels."""
        problem, is_pair = self._material.problem, self._material.is_pair
        return ClassifierFile(cast(Method, method), problem.kind, problem.labels, max_length, is_pair, base=base)

    def calibrated(self, made: Made, file: ClassifierFile) -> ClassifierFile:
        """With the temperature that fits the rows for validation best. `made`: the classifier of such a file."""
        rows = self._material.validation
        judged = _judged(made(file), rows)
        truths = [truth for place in judged.places if (truth := rows.truths[place]) is not None]
        temperature = fitted_temperature(self._material.problem, judged.probabilities(), truths)
        return replace(file, temperature=temperature)

    def written(self, made: Made, file: ClassifierFile, write: Callable[[Path], None], at: Reached) -> Iterator[Told]:
        """Put a classifier into the run's folder, in place of an earlier one. `write` puts its weights into a folder.

        Raises: UserError if it cannot be written.
        """
        file = self.calibrated(made, file)
        # Of a training that was stopped, the test rows are not looked at: it may go on, and be chosen by.
        scored = list(self.scored(made(file))) if at.is_whole else []

        def put(partial: Path) -> None:
            write(partial)
            seen = (*self._material.train.items, *self._material.validation.items)
            write_learned(partial, map(item_digest, seen))
            write_note(partial, replace(file, trained=self._about(at)))

        base = file.base or BaseModel(self._spec["model"]["name"], "")
        made_of_it = placed(self._folder, base, at, put)
        yield from scored
        yield made_of_it

    def _about(self, at: Reached) -> dict[str, Any]:
        """For people to read: settings, data and figures."""
        rows = {
            "train": self._material.train, "validation": self._material.validation, "test": self._material.test,
        }
        return {
            "settings": asdict(self.config), "step": at.step,
            "data": [{name: data[name] for name in ("name", "sha256")} for data in self._spec["datasets"]],
            "rows": {name: len(part.items) for name, part in rows.items()},
            **({"caution": CHOSEN_BY} if any(scored.flatters for scored in self._before.values()) else {}),
            "figures": {
                method: {"part": scored.part, "n": scored.n, **_finite(scored.scores)}
                for method, scored in self._before.items()
            },
        }  # fmt: skip


def figures_of(judged: Judged) -> dict[str, tuple[float, float, float]]:
    """Metric -> (value, low, high), the one to go by first; nothing where there is nothing to score."""
    scores = judged.scores()
    if scores is None:
        return {}
    found = sorted(scores.figures.items(), key=lambda entry: entry[0] != FIRST_FIGURE[judged.kind])
    return {name: (figure.estimate, figure.low, figure.high) for name, figure in found}


def _judged(classifier: Classifier, rows: LabelledTable) -> Judged:
    return judge(classifier.kind, classifier.labels, rows.truths, classifier.predict(rows.items))


def _lines(judged: Judged, rows: LabelledTable) -> Iterator[str]:
    """A line a row that is scored: its place among `rows`, its line in the file, what is true, what was said."""
    for place in judged.places:
        row = judged.rows[place]
        said = cast(Prediction, row.outcome)
        stood = {"place": place, "line": rows.lines[place], "truth": row.truth}
        yield json.dumps(plain({**stood, "scores": said.scores, "n_cut": said.n_cut}), ensure_ascii=False) + "\n"


def _finite(figures: Mapping[str, tuple[float, float, float]]) -> dict[str, list[float | None]]:
    return {
        name: [value if math.isfinite(value) else None for value in values] for name, values in figures.items()
    }


def read_predictions(folder: RunFolder, scored: Scored) -> list[tuple[int, Prediction, Any]]:
    """Line in the file, prediction and truth of each row that a method was scored on; the index is of its part.

    Raises: UserError if the file is not there, or damaged.
    """
    try:
        lines = (folder.path / scored.predictions).read_text(encoding="utf-8").split("\n")
        rows = [json.loads(line) for line in lines if line]
        return [
            (row["line"], Prediction(row["place"], tuple(row["scores"]), row["n_cut"]), _truth(row["truth"]))
            for row in rows
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"Run {folder.id} has no readable {scored.predictions}.", param="run") from error


def _truth(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
