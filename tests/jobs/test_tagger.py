"""Training a tagger of named entities as a run: its folder, its baseline, stop, kill and resume, what is left."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llm_app.classify.entities.config import EntityConfig
from llm_app.classify.entities.folder import read_note
from llm_app.classify.entities.learned import n_among
from llm_app.classify.entities.open import open_tagger
from llm_app.classify.entities.scores import score
from llm_app.classify.entities.train import scores_of
from llm_app.classify.training.events import CHOSEN_BY
from llm_app.config import Settings
from llm_app.data.conll import Columns, read_conll
from llm_app.data.mix import DatasetSpec
from llm_app.engine.turn import Turn
from llm_app.errors import UserError
from llm_app.jobs.classifier import Place
from llm_app.jobs.folder import RunFolder
from llm_app.jobs.store import RunStore
from llm_app.jobs.tagger import TaggerData, resume_tagger, start_tagger
from llm_app.jobs.tagger_result import read_scores, read_taggings
from llm_app.jobs.train import Training
from llm_app.jobs.train_child import ProcessLost
from llm_app.jobs.train_in_place import InPlace
from llm_app.jobs.train_log import TrainLog, read_log
from llm_app.jobs.train_result import weights_digest
from llm_app.training.events import Saved, Step
from tests.classify.making import make_encoder

SMALL = EntityConfig(epochs=3, batch_size=3, learning_rate=1e-2, precision="fp32", validation=0.2, test=0.2)
FEATURES = EntityConfig(method="features", validation=0.2, test=0.2)


def corpus(path: Path) -> Path:
    """A sentence for each name and place."""
    sentences = [
        f"{name}\tB-PER\n{does}\tO\nin\tO\n{place}\tB-LOC\n"
        for name in ("anna", "you", "one") for place in ("paris", "london", "rain")
        for does in ("lives", "likes")
    ]  # fmt: skip
    path.write_text("\n".join(sentences), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(make_encoder(tmp_path_factory.mktemp("models") / "bert", has_head=False))


@pytest.fixture
def data(tmp_path: Path) -> TaggerData:
    return TaggerData(DatasetSpec(str(corpus(tmp_path / "names.conll"))))


def begun(data: TaggerData, settings: Settings, config: EntityConfig = SMALL, **options: Any) -> Training:
    """A run in this process."""
    return Training(start_tagger(data, config, settings, **options).folder, settings, start=InPlace)


def done(
    data: TaggerData, settings: Settings, config: EntityConfig = SMALL, **options: Any
) -> tuple[RunFolder, TrainLog]:
    """One at its end."""
    run = begun(data, settings, config, **options)
    list(run.run())
    return run.folder, read_log(run.folder)


@pytest.mark.parametrize("config", [SMALL, FEATURES], ids=lambda config: config.method)
def test_every_method_leaves_a_tagger_that_gives_the_tags_of_the_run(
    config: EntityConfig, data: TaggerData, settings: Settings, bert: str, tmp_path: Path
) -> None:
    base = bert if config.method == "encoder" else None
    folder, log = done(data, settings, config, base=base, place=Place(output=tmp_path / "out"))
    assert log.written is not None and log.written.name is not None
    (trained,) = (scored for scored in log.scored if scored.method == config.method)
    rows = read_taggings(folder, trained)
    words = [sentence.tokens for sentence, _ in rows]
    for name in (log.written.name, str(tmp_path / "out")):
        again = sorted(open_tagger(name, settings, Turn()).tag(words), key=lambda one: one.index)
        assert [tagging.tags for tagging in again] == [said.tags for _, said in rows]
    assert read_scores(folder)[config.method] == score([one.tags for one, _ in rows], [said for _, said in rows])
    shown = RunStore.of(settings).read(folder.id)
    assert (shown.kind, shown.status, shown.scores["test"][0]) == ("tagger", "done", "span_f1")


def test_U10_a_tagger_knows_the_sentences_that_it_learned_from(data: TaggerData, settings: Settings) -> None:
    folder, log = done(data, settings, FEATURES)
    assert log.written is not None and log.written.name is not None
    tagger = open_tagger(log.written.name, settings, Turn())
    corpus_ = read_conll(Path(data.sentences.path)).sentences
    held_back = {sentence.tokens for sentence, _ in read_taggings(folder, log.scored[0])}
    assert all((n_among(tagger.learned, [each.tokens]) == 0) == (each.tokens in held_back) for each in corpus_)
    assert read_scores(folder)["features"].n_learned == 0 < scores_of(tagger, corpus_).n_learned


def test_the_baseline_stands_beside_an_encoder_on_the_same_sentences(
    data: TaggerData, settings: Settings, bert: str
) -> None:
    folder, log = done(data, settings, base=bert)
    assert [scored.method for scored in log.scored] == ["features", "encoder"]
    lines = [[sentence.line for sentence, _ in read_taggings(folder, scored)] for scored in log.scored]
    assert lines[0] == lines[1] and len(lines[0]) == log.scored[0].n
    note = read_note(folder.path / "classifier")
    assert note.trained["figures"]["encoder"]["span_f1"] == log.scored[1].scores["span_f1"][0]
    (few,) = (note for note in log.notes if note.kind == "few")
    assert log.begun is not None and f"Only {log.begun.n_validation} sentences are held back" in few.text
    assert "个句子用于验证" in few.text_zh


def test_a_stopped_training_goes_on_to_the_very_weights_of_one_that_nobody_stopped(
    data: TaggerData, settings: Settings, bert: str
) -> None:
    whole, _ = done(data, settings, base=bert)
    run = begun(data, settings, base=bert)
    for event in (events := run.run()):
        if isinstance(event, Step) and event.step == 4:
            events.close()
    stopped = read_log(run.folder)
    assert stopped.written is not None and stopped.steps[-1].step == 4
    assert [scored.method for scored in stopped.scored] == ["features"], "the test sentences are not looked at"
    list(resume_tagger(run.folder, settings, start=InPlace).run())
    assert weights_digest(run.folder.path / "classifier") == weights_digest(whole.path / "classifier")
    assert read_log(run.folder).points == read_log(whole).points


@pytest.mark.verify
@pytest.mark.timeout(180)
def test_E1_a_killed_training_of_a_tagger_goes_on_bit_equal(data: TaggerData, settings: Settings, bert: str) -> None:
    whole, _ = done(data, settings, base=bert)
    run = start_tagger(data, SMALL, settings, base=bert)
    with pytest.raises(ProcessLost, match="killed by the system"):
        for event in run.run():
            if isinstance(event, Saved) and event.step >= 3:
                run.kill()
    list(resume_tagger(run.folder, settings, start=InPlace).run())
    assert weights_digest(run.folder.path / "classifier") == weights_digest(whole.path / "classifier")


def test_scores_of_sentences_that_also_chose_the_weights_are_marked(data: TaggerData, settings: Settings) -> None:
    folder, log = done(data, settings, replace(FEATURES, test=0.0))
    assert [(scored.part, scored.flatters) for scored in log.scored] == [("validation", True)]
    note = json.loads((folder.path / "classifier" / "tagger.json").read_text(encoding="utf-8"))
    assert note["trained"]["caution"] == CHOSEN_BY
    assert read_scores(folder)["features"].n_learned == log.scored[0].n


def test_a_file_of_test_sentences_is_scored_and_what_it_shares_with_the_others_is_told(
    data: TaggerData, settings: Settings, tmp_path: Path
) -> None:
    test = DatasetSpec(str(corpus(tmp_path / "test.conll")))
    _, log = done(replace(data, test=test), settings, FEATURES)
    assert log.begun is not None and log.begun.n_test == log.scored[0].n == 18
    told = [note for note in log.notes if "18 of 18 sentences" in note.text and "flatter" in note.text]
    assert ["得分偏高" in note.text_zh for note in told] == [True]


def test_a_changed_file_is_not_gone_on_with(data: TaggerData, settings: Settings) -> None:
    run = begun(data, settings, FEATURES)
    next(run.run())
    Path(data.sentences.path).write_text("a\tO\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"differs in: names\.conll"):
        resume_tagger(run.folder, settings)


@pytest.mark.parametrize(("change", "match"), [
    ({"columns": Columns(tag=9)}, "column"), ({"sentences": DatasetSpec("gone.conll")}, r"Cannot read gone\.conll"),
])
def test_what_cannot_be_read_is_told(
    change: dict[str, Any], match: str, data: TaggerData, settings: Settings
) -> None:
    with pytest.raises(UserError, match=match):
        done(replace(data, **change), settings, FEATURES)


def test_a_public_demo_trains_none(data: TaggerData, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="public demo trains no taggers"):
        start_tagger(data, FEATURES, Settings(home=tmp_path, is_public=True))


def test_transformers_loads_a_trained_tagger_as_it_is_with_its_labels(
    data: TaggerData, settings: Settings, bert: str
) -> None:  # oracle: transformers
    from transformers import AutoModelForTokenClassification, AutoTokenizer

    folder, _ = done(data, settings, replace(SMALL, epochs=0.1), base=bert)
    place = folder.path / "classifier"
    model = AutoModelForTokenClassification.from_pretrained(place)
    assert tuple(model.config.id2label.values()) == ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")
    assert len(AutoTokenizer.from_pretrained(place)("rain " * 300)["input_ids"]) == 302
    assert json.loads((place / "tokenizer.json").read_text(encoding="utf-8"))["truncation"] is None
