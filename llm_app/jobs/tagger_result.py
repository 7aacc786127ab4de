"""What comes of a tagger's training: its folder, and what it and the baseline say of the sentences held back."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from llm_app.classify.entities.config import EntityConfig
from llm_app.classify.entities.encoder import EncoderTagger
from llm_app.classify.entities.features import FeatureTagger
from llm_app.classify.entities.fit import METRIC
from llm_app.classify.entities.folder import TaggerFile, write_note
from llm_app.classify.entities.learned import n_among, write_learned
from llm_app.classify.entities.scores import EntityScores, score
from llm_app.classify.entities.train import Parts
from llm_app.classify.entities.types import Tagging
from llm_app.classify.folder import BaseModel
from llm_app.classify.learned import read_learned
from llm_app.classify.training.events import CHOSEN_BY, Scored
from llm_app.data.conll import TaggedSentence
from llm_app.errors import UserError
from llm_app.jobs.classifier_result import Reached, placed
from llm_app.jobs.folder import RunFolder, Spec, write_whole
from llm_app.jobs.train_log import Told, read_log
from llm_app.jobs.train_result import CLASSIFIER


class TaggerResult:
    """The folder of a run, as far as results go into it."""

    def __init__(self, folder: RunFolder, spec: Spec, config: EntityConfig, parts: Parts) -> None:
        self._folder, self._spec, self._config, self._parts = folder, spec, config, parts
        self._before = {scored.method: scored for scored in read_log(folder).scored}

    def has(self, method: str) -> bool:
        """Whether it was scored before the run was interrupted."""
        return method in self._before

    def scored(self, tagger: EncoderTagger | FeatureTagger) -> Iterator[Scored]:
        """Tag the test sentences (without any, those for validation), keep what was said, and score it."""
        part, sentences = ("test", self._parts.test) if self._parts.test else ("validation", self._parts.validation)
        if not sentences:
            return
        taggings = sorted(tagger.tag([each.tokens for each in sentences]), key=lambda tagging: tagging.index)
        name = f"predictions-{tagger.method}.jsonl"
        lines = (_line(sentence, tagging) for sentence, tagging in zip(sentences, taggings, strict=True))
        write_whole(self._folder.path / name, "".join(lines))
        found = score([sentence.tags for sentence in sentences], taggings)
        made = Scored(tagger.method, part, len(sentences), figures_of(found), name)
        self._before[tagger.method] = made
        yield made

    def written(self, tagger: EncoderTagger | FeatureTagger, at: Reached) -> Iterator[Told]:
        """Put a tagger into the run's folder, in place of an earlier one.

        Raises: UserError if it cannot be written.
        """
        # Of a training that was stopped, the test sentences are not looked at: it may go on, and be chosen by.
        scored = list(self.scored(tagger)) if at.is_whole else []

        def put(partial: Path) -> None:
            tagger.save(partial)
            write_learned(partial, (each.tokens for each in (*self._parts.train, *self._parts.validation)))
            write_note(partial, TaggerFile(tagger.method, self._parts.labels, tagger.max_length, self._about(at)))

        made_of_it = placed(self._folder, BaseModel(self._spec["model"]["name"], ""), at, put)
        yield from scored
        yield made_of_it

    def _about(self, at: Reached) -> dict[str, Any]:
        """For people to read: settings, data and figures."""
        parts = {"train": self._parts.train, "validation": self._parts.validation, "test": self._parts.test}
        return {
            "settings": asdict(self._config), "step": at.step,
            "data": [{name: data[name] for name in ("name", "sha256")} for data in self._spec["datasets"]],
            "sentences": {name: len(part) for name, part in parts.items()},
            **({"caution": CHOSEN_BY} if any(scored.flatters for scored in self._before.values()) else {}),
            "figures": {
                method: {"part": scored.part, "n": scored.n, METRIC: scored.scores[METRIC][0]}
                for method, scored in self._before.items()
            },
        }  # fmt: skip


def figures_of(scores: EntityScores) -> Mapping[str, tuple[float, float, float]]:
    """Metric -> (value, low, high) over all entities, span F1 first."""
    whole = scores.all
    spans = {METRIC: whole.f1, "span_precision": whole.precision, "span_recall": whole.recall}
    found = {name: (figure.estimate, figure.low, figure.high) for name, figure in spans.items()}
    return {**found, "tag_accuracy": (scores.accuracy, math.nan, math.nan)}


def read_taggings(folder: RunFolder, scored: Scored) -> list[tuple[TaggedSentence, Tagging]]:
    """Each sentence that a method was scored on, with what is true and what was said.

    Raises: UserError if the file is not there, or damaged.
    """
    try:
        lines = (folder.path / scored.predictions).read_text(encoding="utf-8").split("\n")
        return [_read(place, json.loads(line)) for place, line in enumerate(lines) if line]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"Run {folder.id} has no readable {scored.predictions}.", param="run") from error


def read_scores(folder: RunFolder) -> dict[str, EntityScores]:
    """Method -> all its scores, that which was trained first; each type of entity has its own.

    Raises: UserError if the run's files are damaged.
    """
    method, learned = folder.spec()["config"]["method"], read_learned(folder.path / CLASSIFIER)
    found = {}
    for scored in sorted(read_log(folder).scored, key=lambda each: each.method != method):
        rows = read_taggings(folder, scored)
        found[scored.method] = score(
            [sentence.tags for sentence, _ in rows], [tagging for _, tagging in rows],
            n_learned=n_among(learned, (sentence.tokens for sentence, _ in rows)),
        )  # fmt: skip
    return found


def _line(sentence: TaggedSentence, tagging: Tagging) -> str:
    """A sentence that is scored: its line in the file, its words, what is true, what was said."""
    stood = {"line": sentence.line, "tokens": sentence.tokens, "truth": sentence.tags}
    said = {name: value for name, value in asdict(tagging).items() if name != "index"}
    return json.dumps({**stood, **said}, ensure_ascii=False) + "\n"


def _read(place: int, row: Mapping[str, Any]) -> tuple[TaggedSentence, Tagging]:
    sentence = TaggedSentence(row["line"], tuple(row["tokens"]), tuple(row["truth"]))
    said = Tagging(place, tuple(row["tags"]), tuple(row["probabilities"]), row["n_cut"], row["n_unknown"])
    return sentence, said
