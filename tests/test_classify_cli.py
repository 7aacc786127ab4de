"""`classify` as a person and a script use it: one text, a table, a run that goes on, and what it refuses."""

import csv
import json
from pathlib import Path

import pytest

from llm_app.classify.config import EXPLANATIONS
from llm_app.classify.folder import ClassifierFile, write_note
from llm_app.classify.learned import write_learned
from llm_app.classify.table import item_digest
from llm_app.classify.types import Item
from llm_app.cli import main
from tests.classify.making import make_encoder

TABLE = "text,truth\nthe quick brown fox,negative\nhello world,positive\n,positive\none two,three,four\nhow are you,\n"
LABELS = ("--labels", "negative,positive")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PROOFBENCH_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def table(home: Path, tmp_path: Path) -> Path:
    path = tmp_path / "reviews.csv"
    path.write_text(TABLE, encoding="utf-8")
    return path


@pytest.fixture
def usual(home: Path) -> str:
    """A trained classifier on the shelf: it says positive to everything."""
    folder = home / "classifiers" / "usual"
    folder.mkdir(parents=True)
    write_note(folder, ClassifierFile("majority", "single", ("negative", "positive"), shares=(0.4, 0.6)))
    return "usual"


def rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


def test_a_chat_model_labels_a_table_and_is_scored(
    table: Path, tiny_llama: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output, scores = tmp_path / "out.csv", tmp_path / "scores.json"
    code = main([
        "classify", "--model", str(tiny_llama), "--precision", "fp32", *LABELS, "--input", str(table),
        "--text-column", "text", "--truth-column", "truth", "--output", str(output), "--json", str(scores),
    ])  # fmt: skip
    said = capsys.readouterr()
    assert code == 0, said.err
    found = rows(output)
    assert list(found[0]) == ["text", "truth", "line", "label", "probability", "p(negative)", "p(positive)", "n_cut",
                              "error"]  # fmt: skip
    assert [row["error"] for row in found[2:4]] == ["column text is empty", "3 cells, but there are 2 columns"]
    for row in (found[0], found[1], found[4]):
        assert float(row["p(negative)"]) + float(row["p(positive)"]) == pytest.approx(1)
        assert float(row["probability"]) == max(float(row["p(negative)"]), float(row["p(positive)"]))
    assert "line 5: 3 cells, but there are 2 columns" in said.err
    written = json.loads(scores.read_text())
    assert (written["n_rows"], written["n_bad"], written["n_scored"]) == (5, 2, 2)
    (run,) = (tmp_path / "home" / "runs").iterdir()
    assert main(["classify", "--resume", run.name, "--output", str(tmp_path / "again.csv")]) == 0, "also in fp32"
    assert (tmp_path / "again.csv").read_bytes() == output.read_bytes()
    assert f"accuracy            {written['scores']['scores']['accuracy']['value']:.3f}" in said.out


def test_a_trained_classifier_needs_no_labels_and_goes_on_with_its_run(
    table: Path, usual: str, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, again = tmp_path / "out.csv", tmp_path / "again.csv"
    asked = ["classify", "--model", usual, "--input", str(table), "--text-column", "text", "--output"]
    assert main([*asked, str(first)]) == 0
    (run,) = (home / "runs").iterdir()
    assert f"run {run.name}, 3 rows" in capsys.readouterr().err
    assert main(["classify", "--resume", run.name, "--output", str(again)]) == 0
    assert first.read_bytes() == again.read_bytes()
    assert [row["label"] for row in rows(first)] == ["positive", "positive", "", "", "positive"]


def test_baselines_stand_beside_the_classifier_with_a_verdict(
    usual: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "words.csv"
    lines = [f"{word} {n},{label}" for n in range(20) for word, label in (("good", "positive"), ("bad", "negative"))]
    path.write_text("\n".join(["text,label", *lines]))
    assert main(["classify", "--model", usual, "--input", str(path), "--text-column", "text", "--truth-column", "label",
                 "--json", str(tmp_path / "scores.json")]) == 0  # fmt: skip
    said = capsys.readouterr().out
    assert said.split("\n")[0].split() == ["usual", "majority", "tfidf"]
    assert "usual is worse than tfidf on words.csv: 50.0 % against 100.0 % (accuracy)" in said


def test_U10_rows_that_a_classifier_learned_from_are_told_and_counted_and_baselines_are_left_out_on_demand(
    usual: str, home: Path, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    learned = [item_digest(Item(words)) for words in ("Hello  WORLD", "something else")]
    write_learned(home / "classifiers" / usual, learned)
    asked = ["classify", "--model", usual, "--input", str(table), "--text-column", "text"]
    scores = tmp_path / "scores.json"
    assert main([*asked, "--truth-column", "truth", "--no-baselines", "--json", str(scores)]) == 0
    said, written = capsys.readouterr().err, json.loads(scores.read_text())
    assert "1 rows are among those that the classifier learned from or was chosen by: its scores flatter" in said
    assert written["classifier"]["learned"] == 1 and written["baselines"] == {} and "no baselines" not in said
    assert main([*asked, "--output", str(tmp_path / "out.csv")]) == 0
    assert "flatter" not in capsys.readouterr().err, "nothing is scored"


def test_a_classifier_that_has_the_name_of_a_baseline_is_not_mistaken_for_it(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, path = home / "classifiers" / "majority", tmp_path / "words.csv"
    folder.mkdir(parents=True)
    write_note(folder, ClassifierFile("majority", "single", ("negative", "positive"), shares=(0.6, 0.4)))
    lines = [f"{word} {n},{label}" for n in range(6) for word, label in (("good", "positive"), ("bad", "negative"))]
    path.write_text("\n".join(["text,label", *lines, "good indeed,positive"]))
    assert main(["classify", "--model", "majority", "--input", str(path), "--text-column", "text", "--truth-column",
                 "label", "--json", str(tmp_path / "scores.json")]) == 0  # fmt: skip
    said = capsys.readouterr().out
    assert "majority (trained)" in said.split("\n")[0] and "46.2 % against" in said


def test_one_text_gets_probabilities_and_the_words_that_decided(
    home: Path, tiny_llama: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written = tmp_path / "one.json"
    assert main(["classify", "hello quick world", "--model", str(tiny_llama), "--precision", "fp32", *LABELS, "--json",
                 str(written)]) == 0  # fmt: skip
    said, found = capsys.readouterr(), json.loads(written.read_text())
    assert said.out.splitlines()[0].startswith(f"{found['label']}  {max(found['probabilities'].values()):.4f}")
    assert sorted("hello quick world"[word["start"] : word["end"]] for word in found["words"]) == [
        "hello", "quick", "world",
    ]  # fmt: skip
    assert " ms" in said.err and "what decided" in said.err


def test_an_encoder_says_which_words_decided_by_its_gradient(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, written = make_encoder(tmp_path / "tiny"), tmp_path / "one.json"
    asked = ["classify", "good film", "--model", str(folder), "--json", str(written), "--explain"]
    found = {}
    for how in EXPLANATIONS:
        assert main([*asked, how]) == 0
        found[how] = json.loads(written.read_text())
    assert [found[how]["explained_by"] for how in EXPLANATIONS] == list(EXPLANATIONS)
    assert found["gradient"]["words"] != found["leave-one-out"]["words"]
    assert "gradient times input" in capsys.readouterr().err


def test_strict_refuses_a_text_that_is_too_long_in_its_row(table: Path, tiny_llama: Path, tmp_path: Path) -> None:
    table.write_text("text\n" + "hello " * 4000 + "\nhello\n")
    output = tmp_path / "out.csv"
    asked = ["classify", "--model", str(tiny_llama), "--precision", "fp32", *LABELS, "--input", str(table),
             "--text-column", "text", "--output", str(output)]  # fmt: skip
    assert main([*asked, "--strict"]) == 0
    assert "nothing may be cut" in rows(output)[0]["error"] and rows(output)[1]["error"] == ""
    assert main(asked) == 0
    assert int(rows(output)[0]["n_cut"]) > 0 and rows(output)[0]["label"]


@pytest.mark.parametrize(("arguments", "sentence"), [
    ([], "Give one of these: a TEXT, a table with --input FILE, or --resume RUN."),
    (["hi", "--input", "a.csv"], "Give one of these: a TEXT, a table with --input FILE, or --resume RUN."),
    (["hi", "--text-column", "a"], "--text-column does not go with this: only a table has it."),
    (["--input", "a.csv", "--pair", "b", "--output", "c"], "--pair does not go with this: only a TEXT has it."),
    (["--input", "a.csv", "--explain", "gradient", "--output", "c"],
     "--explain does not go with this: only a TEXT has it."),
    (["--input", "a.csv"], "Say where the labelled table goes: --output OUT.csv"),
    ([" "], "The text is empty. Write something first."),
    (["--input", "a.csv", "--output", "b.csv", "--baselines"],
     "--baselines needs the true labels: --truth-column NAME"),
    (["--input", "a.csv", "--output", "b.csv", "--kind", "multi"],
     "--kind says what the truth column holds: give --truth-column too."),
    (["--input", "a.csv", "--output", "b.csv", "--truth-column", "l", "--label-separator", ","],
     "--label-separator goes with --kind multi: several labels in a cell."),
    (["--resume", "abcdefghijkl", "--precision", "fp32"],
     "--precision does not go with this: a resumed run keeps its own options."),
])  # fmt: skip
def test_flags_that_do_not_go_together_are_told(
    home: Path, arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["classify", *arguments]) == 2
    assert capsys.readouterr().err.strip() == sentence


@pytest.mark.parametrize(("arguments", "sentence"), [
    (["--template", "{text}:"], "usual is a trained classifier, which makes no use of --template: leave it out."),
    (["--precision", "fp32"], "usual is a trained classifier, which makes no use of --precision: leave it out."),
    (["--threshold", "nan"], "A threshold is a probability, from 0 to 1, not nan."),
])
def test_a_trained_classifier_refuses_what_it_makes_no_use_of(
    usual: str, arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["classify", "some text", "--model", usual, *arguments]) == 2
    assert capsys.readouterr().err.strip() == sentence


def test_a_threshold_for_three_labels_is_refused_before_there_is_a_run(
    table: Path, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = home / "classifiers" / "three"
    folder.mkdir(parents=True)
    write_note(folder, ClassifierFile("majority", "single", ("a", "b", "c"), shares=(0.2, 0.3, 0.5)))
    asked = ["classify", "--model", "three", "--input", str(table), "--text-column", "text", "--threshold", "0.3"]
    assert main([*asked, "--output", str(tmp_path / "out.csv")]) == 2
    assert "A threshold is for one of two labels" in capsys.readouterr().err
    assert not (home / "runs").exists() or not list((home / "runs").iterdir())


def test_a_model_without_a_trained_head_is_refused_without_labels(
    home: Path, tiny_llama: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["classify", "hello", "--model", str(tiny_llama)]) == 2
    assert "this model has no trained classification head" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["train", "glue", "entities", "topics"])
def test_commands_of_two_words_answer_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["classify", command, "--help"])
    assert ended.value.code == 0 and f"classify {command}" in capsys.readouterr().out
