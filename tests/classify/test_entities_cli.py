"""The commands `classify entities` and `classify topics`."""

import csv
import json
from pathlib import Path

import pytest

from llm_app.cli import main
from tests.classify.small_bert import make_bert

CONLL = "".join(
    f"{name}\tB-PER\nlives\tO\nin\tO\n{place}\tB-LOC\n.\tO\n\n"
    for name in ("Anna", "Bob", "Carla", "Dan")
    for place in ("Paris", "London", "Rome")
)


@pytest.fixture
def tagger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PROOFBENCH_HOME", str(tmp_path / "home"))
    (tmp_path / "train.conll").write_text(CONLL, encoding="utf-8")
    command = ["classify", "entities", "train", "--input", str(tmp_path / "train.conll")]
    assert main([*command, "--method", "features", "--output", str(tmp_path / "tagger")]) == 0
    return tmp_path / "tagger"


def test_a_tagger_that_was_trained_finds_and_scores(tagger, tmp_path, capsys):
    capsys.readouterr()
    assert main(["classify", "entities", "find", "Anna lives in Rome.", "--model", str(tagger), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(each["text"], each["type"], each["start"]) for each in found] == [("Anna", "PER", 0), ("Rome", "LOC", 14)]
    score = ["classify", "entities", "score", "--model", str(tagger), "--input", str(tmp_path / "train.conll")]
    assert main([*score, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[str(tagger)]["all"]["f1"]["estimate"] == 1.0


def test_entities_of_a_table_are_written_with_their_lines(tagger, tmp_path):
    table = "id,text\n1,Bob lives in Paris .\n2,nobody\n3,Dan lives in Rome .\n"
    (tmp_path / "in.csv").write_text(table, encoding="utf-8")
    command = ["classify", "entities", "find", "--input", str(tmp_path / "in.csv"), "--model", str(tagger)]
    assert main([*command, "--output", str(tmp_path / "out.csv")]) == 0
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        assert [(row["row"], row["text"]) for row in csv.DictReader(file)] == [
            ("2", "Bob"), ("2", "Paris"), ("4", "Dan"), ("4", "Rome"),
        ]  # fmt: skip


def test_a_text_and_a_file_at_once_are_refused(tagger, tmp_path, capsys):
    assert main(["classify", "entities", "find", "a", "--input", "b", "--model", str(tagger)]) == 2
    assert "either a text or --input" in capsys.readouterr().err


def test_a_file_that_is_no_conll_file_is_refused_in_one_line(tmp_path, capsys):
    (tmp_path / "words.txt").write_text("one\ntwo\n", encoding="utf-8")
    command = ["classify", "entities", "train", "--input", str(tmp_path / "words.txt"), "--output", "x"]
    assert main(command) == 2
    assert capsys.readouterr().err.strip().splitlines() == [
        "words.txt: most lines have one column; a CoNLL file has a token and its tag on a line."
    ]


def test_topics_are_printed_and_every_text_gets_a_line(tmp_path, capsys):
    bert = make_bert(tmp_path / "bert")
    texts = "the rain\nAnna lives in Paris\nrain and rain\nAnna likes Paris\n"
    (tmp_path / "in.txt").write_text(texts, encoding="utf-8")
    command = ["classify", "topics", "--input", str(tmp_path / "in.txt"), "--model", str(bert), "--n-topics", "2"]
    assert main([*command, "--output", str(tmp_path / "out.csv")]) == 0
    assert capsys.readouterr().out.count("topic ") == 2
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["row"] for row in rows] == ["1", "2", "3", "4"]
    assert all(row["topic"] in ("0", "1") and float(row["x"]) == float(row["x"]) for row in rows)
