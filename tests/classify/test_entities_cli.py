"""The commands `classify entities` and `classify topics`."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from llm_app.classify.entities.decode import bio_labels
from llm_app.classify.entities.features import FeatureTagger
from llm_app.classify.entities.folder import TaggerFile, write_note
from llm_app.classify.entities.learned import write_learned
from llm_app.cli import main
from llm_app.data.conll import read_conll
from llm_app.train_cli import INTERRUPTED
from tests.classify.making import make_encoder

CONLL = "".join(
    f"{name}\tB-PER\nlives\tO\nin\tO\n{place}\tB-LOC\n.\tO\n\n"
    for name in ("Anna", "Bob", "Carla", "Dan")
    for place in ("Paris", "London", "Rome")
)


@pytest.fixture
def tagger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A baseline that learned from train.conll."""
    monkeypatch.setenv("PROOFBENCH_HOME", str(tmp_path / "home"))
    (tmp_path / "train.conll").write_text(CONLL, encoding="utf-8")
    (tmp_path / "tagger").mkdir()
    labels = bio_labels(("LOC", "PER"))
    FeatureTagger.fit(read_conll(tmp_path / "train.conll").sentences, labels).save(tmp_path / "tagger")
    write_note(tmp_path / "tagger", TaggerFile("features", labels, None))
    return tmp_path / "tagger"


@pytest.mark.verify
def test_training_names_its_run_goes_on_after_an_interruption_and_leaves_a_tagger(tmp_path: Path) -> None:
    (tmp_path / "train.conll").write_text(CONLL, encoding="utf-8")
    bert = make_encoder(tmp_path / "bert", has_head=False)
    environ = os.environ | {"PROOFBENCH_HOME": str(tmp_path / "home"), "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-m", "llm_app", "classify", "entities", "train"]
    asked = ["--input", "train.conll", "--model", str(bert), "--output", "out", "--epochs", "300"]
    first = subprocess.Popen([*command, *asked], cwd=tmp_path, env=environ, stderr=subprocess.PIPE, text=True)
    assert first.stderr is not None
    run = next(match[1] for line in first.stderr if (match := re.match(r"run (\w+);", line)))
    next(line for line in first.stderr if "after step" in line)
    first.send_signal(signal.SIGINT)
    told = first.communicate()[1]
    assert first.returncode == INTERRUPTED and f"--resume {run}" in told
    options = {"cwd": tmp_path, "env": environ, "capture_output": True, "text": True, "check": True}
    again = subprocess.run([*command, "--resume", run, "--json"], **options)
    assert json.loads(again.stdout).keys() == {"encoder", "features"}
    assert (tmp_path / "out" / "tagger.json").is_file()


@pytest.mark.parametrize(("arguments", "told"), [
    (["--output", "x"], "Training needs --input."),
    (["--resume", "abcdefghijkl", "--tag-column", "2", "--seed", "1"], "leave out --tag-column, --seed."),
    (["--input", "a", "--test-input", "b", "--test", "0.1"], "leave out --test."),
    (["--input", "a", "--method", "features", "--epochs", "2"], "Method features makes no use of epochs"),
    (["--input", "a", "--validation", "0", "--patience", "2"], "goes by rows held back"),
])  # fmt: skip
def test_what_makes_no_sense_together_is_told_in_a_sentence(arguments, told, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PROOFBENCH_HOME", str(tmp_path))
    assert main(["classify", "entities", "train", *arguments]) == 2
    assert told in capsys.readouterr().err


def test_a_tagger_that_was_trained_finds_and_scores(tagger, tmp_path, capsys):
    capsys.readouterr()
    assert main(["classify", "entities", "find", "Anna lives in Rome.", "--model", str(tagger), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(each["text"], each["type"], each["start"]) for each in found] == [("Anna", "PER", 0), ("Rome", "LOC", 14)]
    score = ["classify", "entities", "score", "--model", str(tagger), "--input", str(tmp_path / "train.conll")]
    assert main([*score, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[str(tagger)]["all"]["f1"]["estimate"] == 1.0


def test_scores_of_sentences_that_were_learned_from_say_so(tagger, tmp_path, capsys):
    train = read_conll(tmp_path / "train.conll").sentences
    write_learned(tagger, (sentence.tokens for sentence in train[:5]))
    score = ["classify", "entities", "score", "--model", str(tagger), "--input", str(tmp_path / "train.conll")]
    assert main([*score, "--json"]) == 0
    told = capsys.readouterr()
    assert "5 of 12 sentences are among those that it learned from" in told.err
    assert json.loads(told.out)[str(tagger)]["n_learned"] == 5


def test_entities_of_a_table_are_written_with_their_lines(tagger, tmp_path, monkeypatch, capsys):
    table = "id,content\n1,Bob lives in Paris .\n2,nobody\n3,Dan lives in Rome .\n4,\n"
    (tmp_path / "in.csv").write_text(table, encoding="utf-8")
    monkeypatch.setenv("HOME", str(tmp_path))
    command = ["classify", "entities", "find", "--input", str(tmp_path / "in.csv"), "--model", str(tagger)]
    capsys.readouterr()
    assert main([*command, "--output", "~/out.csv", "--json"]) == 0
    told = capsys.readouterr()
    assert [each["text"] for each in json.loads(told.out)] == ["Bob", "Paris", "Dan", "Rome"]
    assert "column content holds the text" in told.err and "1 rows have no text" in told.err
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        assert [(row["row"], row["text"]) for row in csv.DictReader(file)] == [
            ("2", "Bob"), ("2", "Paris"), ("4", "Dan"), ("4", "Rome"),
        ]  # fmt: skip


def test_how_a_file_is_read_is_refused_beside_a_text(tagger, capsys):
    assert main(["classify", "entities", "find", "a", "--text-column", "b", "--model", str(tagger)]) == 2
    assert "leave out --text-column" in capsys.readouterr().err


def test_a_text_and_a_file_at_once_are_refused(tagger, tmp_path, capsys):
    assert main(["classify", "entities", "find", "a", "--input", "b", "--model", str(tagger)]) == 2
    assert "either a text or --input" in capsys.readouterr().err


def test_a_file_that_is_no_conll_file_is_refused_in_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PROOFBENCH_HOME", str(tmp_path))
    (tmp_path / "words.txt").write_text("one\ntwo\n", encoding="utf-8")
    command = ["classify", "entities", "train", "--input", str(tmp_path / "words.txt"), "--output", "x"]
    assert main(command) == 2
    assert capsys.readouterr().err.strip().splitlines() == [
        "words.txt: most lines have one column; a CoNLL file has a token and its tag on a line."
    ]


def test_topics_are_printed_and_every_text_gets_a_line(tmp_path, capsys):
    bert = make_encoder(tmp_path / "bert", has_head=False)
    texts = "the rain\nAnna lives in Paris\nrain and rain\nAnna likes Paris\n"
    (tmp_path / "in.txt").write_text(texts, encoding="utf-8")
    command = ["classify", "topics", "--input", str(tmp_path / "in.txt"), "--model", str(bert), "--n-topics", "2"]
    assert main([*command, "--output", str(tmp_path / "out.csv")]) == 0
    assert capsys.readouterr().out.count("topic ") == 2
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["row"] for row in rows] == ["1", "2", "3", "4"]
    assert all(row["topic"] in ("0", "1") and float(row["x"]) == float(row["x"]) for row in rows)


def test_topics_of_a_table_are_of_the_column_that_is_guessed_read_as_is_said(tmp_path, capsys):
    bert = make_encoder(tmp_path / "bert", has_head=False)
    table = tmp_path / "in.csv"
    table.write_bytes("id;content\n1;上海下雨\n2;Anna lives in Paris\n3;北京下雨\n".encode("gb18030"))
    command = ["classify", "topics", "--input", str(table), "--model", str(bert), "--n-topics", "2"]
    assert main([*command, "--encoding", "gb18030", "--separator", ";", "--output", str(tmp_path / "out.csv")]) == 0
    assert "column content holds the text" in capsys.readouterr().err
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        assert [row["text"] for row in csv.DictReader(file)] == ["上海下雨", "Anna lives in Paris", "北京下雨"]
