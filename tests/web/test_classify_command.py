"""The commands that the Classify tab shows: the command line takes them, and does what the form says."""

import argparse
import csv
import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from llm_app.classify.config import ClassifierConfig, ZeroShotConfig
from llm_app.classify.entities.config import EntityConfig
from llm_app.classify.folder import ClassifierFile, write_note
from llm_app.classify.table import Columns
from llm_app.classify.topics.config import TopicsConfig
from llm_app.classify_topics_cli import texts_of
from llm_app.cli import build_parser, main
from llm_app.config import ModelConfig, Settings
from llm_app.data.table import Reading
from llm_app.data_flags import reading_of
from llm_app.flags import read_flags
from llm_app.jobs.classify_open import Asked
from llm_app.training.search_config import SearchConfig
from llm_app.web.classify.command import entities_commands, table_command, topics_command, training_command
from llm_app.web.classify.desk import Desk, Known, Laid
from llm_app.web.classify.entities_reading import Brought
from llm_app.web.classify.tables import Tables
from llm_app.web.classify.training import TrainingAsked

COLUMNS = Columns("the text", truth="label", kind="multi", separator="|")


@pytest.fixture
def known(tmp_path: Path, settings: Settings) -> Known:
    path = tmp_path / "my table; rm -rf.tsv"
    path.write_text("the text\tlabel\ngood\ta|b\nbad\tb\n", encoding="utf-8")
    return Desk(settings, Tables()).read(Laid(str(path), Reading("utf-8", "\t", True), COLUMNS, drops=True))


def test_the_command_of_a_table_classifies_that_table(
    known: Known, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = settings.classifiers / "tags"
    folder.mkdir(parents=True)
    write_note(folder, ClassifierFile("majority", "multi", ("a", "b"), shares=(0.2, 0.7)))
    monkeypatch.setenv("PROOFBENCH_HOME", str(settings.home))
    monkeypatch.chdir(tmp_path)
    line = table_command(known, Asked("tags"), None, settings)
    assert line.startswith("python -m llm_app ")
    assert main(shlex.split(line)[3:]) == 0
    found = list(csv.DictReader((tmp_path / "my table; rm -rf-labelled.csv").open(encoding="utf-8")))
    assert [row["predicted label"] for row in found] == ["b", "b"]


def test_the_command_of_a_prompt_holds_the_model_and_the_prompt_as_they_are(known: Known, settings: Settings) -> None:
    chat = ModelConfig("/models/tiny one", adapter="mine", precision="fp32", context_length=512)
    prompt = ZeroShotConfig("{text}\nIs it {labels}?", words=("very good", "bad"), calibrates=True, n_examples=2)
    line = table_command(known, Asked("tiny one", ("a", "b"), prompt), chat, settings)
    options = build_parser().parse_args(shlex.split(line)[3:])
    options.template = options.template.replace("\\n", "\n")  # as `classify` reads it
    assert (read_flags(options, ModelConfig), read_flags(options, ZeroShotConfig)) == (chat, prompt)
    assert (options.labels, options.separator, options.header) == ("a,b", "\\t", True) and "\n" not in line


def test_the_command_of_a_training_holds_all_that_is_not_a_default(known: Known, settings: Settings) -> None:
    config = ClassifierConfig(method="encoder", epochs=2.5, weighs_classes=True, validation=0.2, seed=7)
    known = replace(known, laid=replace(known.laid, scored_on="/the/test rows.tsv"))
    options = parsed(training_command(known, TrainingAsked(config, "org/encoder", "my tags"), settings))
    assert options.test_input == "/the/test rows.tsv"
    assert read_flags(options, ClassifierConfig) == config
    assert (options.model, options.name, options.drop_unlabelled) == ("org/encoder", "my tags", True)
    assert (options.input, options.text_column, options.truth_column) == (known.laid.path, "the text", "label")
    assert (options.kind, options.label_separator, options.encoding) == ("multi", "|", "utf-8")


def test_the_command_of_a_search_holds_what_is_searched_beside_what_all_trials_share(
    known: Known, settings: Settings
) -> None:
    config = ClassifierConfig(method="encoder", epochs=2.5, seed=7)
    search = SearchConfig(("learning_rate=1e-5..1e-3:log", "batch_size=8,16"), strategy="random", trials=3, minutes=5.0)
    line = training_command(known, TrainingAsked(config, None, "my tags"), settings, search)
    words = shlex.split(line)[3:]
    options = build_parser().parse_args([" ".join(words[:2]), *words[2:]])
    assert words[:2] == ["classify", "search"]
    assert (read_flags(options, ClassifierConfig), read_flags(options, SearchConfig)) == (config, search)
    assert (options.input, options.truth_column, options.name) == (known.laid.path, "label", "my tags")


def test_the_command_of_topics_reads_the_same_texts_with_every_option(known: Known, settings: Settings) -> None:
    config = TopicsConfig(n_topics=4, positions="tsne", seed=3)
    line = topics_command(known, "org/encoder", config, settings)
    words = shlex.split(line)[3:]
    options = build_parser().parse_args([" ".join(words[:2]), *words[2:]])
    assert (read_flags(options, TopicsConfig), options.model) == (config, "org/encoder")
    found = texts_of(options.input, options.text_column, reading_of(options))
    assert found == (list(known.rows.lines), [item.text for item in known.rows.items])


def parsed(line: str) -> argparse.Namespace:
    words = shlex.split(line)[3:]
    return build_parser().parse_args([" ".join(words[:2]), *words[2:]])


def test_the_commands_of_entities_find_in_a_text_and_score_and_train_on_tags(settings: Settings) -> None:
    asked = TrainingAsked(EntityConfig(method="features", test=0.2), None, "my tags")
    plain, tagged = Brought("a.txt", ()), Brought("a.txt", (), is_tagged=True)
    for text in ("Anna lives in Paris; rm -rf", "- a list"):
        find = parsed(entities_commands(plain, text, "mine", asked, settings))
        assert (find.entities, find.text, find.model, find.input) == ("find", text, "mine", None)
    score, train = map(parsed, entities_commands(tagged, Path("/a b.txt"), "mine", asked, settings).splitlines())
    assert (score.entities, score.model, score.input) == ("score", "mine", "/a b.txt")
    assert (train.entities, train.input, train.name) == ("train", "/a b.txt", "my tags")
    assert read_flags(train, EntityConfig) == asked.config
    assert entities_commands(plain, "x", "", asked, settings) == "", "no tagger"
    public = entities_commands(tagged, Path("/data/a.txt"), "mine", asked, replace(settings, is_public=True))
    assert "/home" not in public and " train " not in public


def test_a_public_page_names_no_folder(known: Known, tmp_path: Path) -> None:
    public = Settings(tmp_path, is_public=True)
    lines = [
        table_command(known, Asked("tags"), None, public),
        table_command(known, Asked("tiny", ("a", "b")), ModelConfig(f"{tmp_path}/tiny"), public),
        training_command(known, TrainingAsked(ClassifierConfig(), None, None), public),
        topics_command(known, f"{tmp_path}/encoder", TopicsConfig(), public),
    ]
    assert not any(str(tmp_path) in line for line in lines)
