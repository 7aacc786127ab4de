"""What is wrong in a task file or its data is said in one sentence that names the place."""

import json
from pathlib import Path

import pytest
import yaml

from eval.metrics.bleu.score import tokenizers
from eval.tasks.own import describe, own_task, roles
from eval.types import EvaluationError
from tests.eval.test_own_tasks import lines, write

GOOD = lines({"text": "a", "label": "x"}, {"text": "b", "label": "y"})


@pytest.mark.parametrize(
    ("task", "said"),
    [
        ("kind: classificaton\n", "kind must be one of perplexity, .*, not 'classificaton'"),
        ("kind: classification\nprompts: x\n", "there is no key 'prompts'; did you mean prompt?"),
        ("kind: classification\n1: x\n", "there is no key 1; there are name, kind"),
        ("", "the line `kind: ...` is missing"),
        ("kind: perplexity\nlabels: [a, b]\n", "labels has no use for kind perplexity; it is for classification"),
        ("kind: classification\nlabels: [yes, no]\n", "labels: YAML reads yes, no, .* write it in quotes"),
        ("kind: classification\nlabels: [a]\n", "labels must be two or more, all different"),
        ("kind: classification\nlabels: {x: a, y: a}\n", "labels must be two or more, all different"),
        ("kind: classification\nlabels: [[a], b]\n", "labels must be text, not a list"),
        ("kind: classification\nshots: many\n", "shots must be a whole number from 0 to 100, not 'many'"),
        ("kind: classification\nlanguage: English\n", "language must be a code such as en, zh or ja, not 'English'"),
        ("kind: generation\nmax_new_tokens: 0\n", "max_new_tokens must be a whole number from 1 to 4096, not 0"),
        ("kind: classification\nskip_bad_rows: maybe\n", "skip_bad_rows must be true or false, not 'maybe'"),
        ("kind: classification\ncolumns: text\n", "columns must be lines such as"),
        ("kind: classification\ncolumns: {text: body}\n", "no column 'body'; it has text, label. Say which"),
        ("kind: classification\ncolumns: {title: text}\n", "columns names 'title', which neither the prompt nor"),
        ('kind: classification\nprompt: "{{body}}:"\n', "data.jsonl has no column 'body'"),
        ("kind: classification\nexamples: none.csv\n", "there is no file none.csv beside it"),
        ("kind: [\n", "not valid YAML in line 4"),
    ],
)
def test_what_is_wrong_in_a_task_file_is_said_in_one_sentence(task: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match=said) as error:
        own_task(write(tmp_path, task, GOOD))
    assert str(error.value).startswith("t.yaml: ") and len(str(error.value)) < 300


@pytest.mark.skipif("ja-mecab" in tokenizers(), reason="the tokeniser is installed")
def test_bleu_in_japanese_names_the_package_that_it_needs(tmp_path: Path) -> None:
    task = "kind: generation\nlanguage: ja\ncolumns: {source: text, target: label}\n"
    with pytest.raises(EvaluationError, match=r"BLEU in ja needs MeCab: pip install 'sacrebleu\[ja\]'"):
        own_task(write(tmp_path, task, GOOD))


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("d.jsonl", GOOD + "{'text'}\n", r"1 of 3 rows cannot be used because not JSON \(.*column 2\) \(line 3\)"),
        ("d.jsonl", GOOD + '{"text": \n', r"because cut off: it ends before its JSON does \(line 3\)"),
        ("d.jsonl", GOOD + '{"text": NaN}\n', r"because NaN is no JSON number \(line 3\)"),
        ("d.jsonl", GOOD + '{"text": "a", "text": "b"}\n', r"because the key 'text' comes twice \(line 3\)"),
        ("d.jsonl", '{"text": \n', "d.jsonl, line 1: cut off"),
        ("d.jsonl", GOOD + "\0\n", "d.jsonl, line 3: a NUL character"),
        ("d.jsonl", "\n[1]\n", "d.jsonl, line 2: each line must be an object"),
        ("d.jsonl", "[" * 100_000, "d.jsonl, line 1: nested too deeply"),
        ("d.csv", "text,label\na,x\n\nb\n", "d.csv, line 4: 1 cells, but the first line names 2 columns"),
        ("d.csv", 'text,label\n"a\nb",x\nc,y,z\n', "d.csv, line 4: 3 cells"),
        ("d.csv", 'text,label\n"a" b,x\n', "d.csv, line 2: .*JSONL is the safer format"),
        ("d.csv", "text,text\na,b\n", "d.csv: two columns are called 'text'"),
        ("d.csv", "text,,label\na,b,c\n", "d.csv: column 2 has no name"),
        ("d.csv", "text;label\na;b\n", "d.csv: the first line names one column, 'text;label'; .* save it with commas"),
        ("d.csv", "text\tlabel\na\tb\n", "d.csv: the first line names one column, .* call the file .tsv"),
        ("d.csv", "text,label\n", "no usable examples: d.csv has no rows"),
        ("d.jsonl", "\n", "no usable examples: d.jsonl has no rows"),
        ("d.xlsx", "x", "data files end in .jsonl, .ndjson, .csv, .tsv"),
        ("d.csv", "text,label\na,x\nb,x\n", "d.csv has 1 different labels; give it 2 to 1,000"),
    ],
)
def test_what_is_wrong_in_a_data_file_names_the_line(name: str, data: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match=said):
        own_task(write(tmp_path, "kind: classification\n", data, name))


def test_a_file_that_is_not_utf8_is_told_with_its_line(tmp_path: Path) -> None:
    path = write(tmp_path, "kind: classification\n", "", "d.csv")
    (tmp_path / "d.csv").write_bytes(b"text,label\na,x\n" + "好,y\n".encode("gbk"))
    with pytest.raises(EvaluationError, match="d.csv, line 3: this is not UTF-8"):
        own_task(path)


def test_a_mark_at_the_start_as_spreadsheets_write_it_is_no_part_of_the_first_column(tmp_path: Path) -> None:
    assert own_task(write(tmp_path, "kind: classification\n", "\ufefftext,label\na,x\nb,y\n", "d.csv"))


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"text": " ", "label": "x"}, r"text is empty \(line 3\)"),
        ({"text": "a"}, r"label is empty \(line 3\)"),
        ({"text": ["a"], "label": "x"}, r"text is a list, not text \(line 3\)"),
        ({"text": "a", "label": "z"}, r"label 'z' is none of x, y \(line 3\)"),
        ({"text": "\ud800", "label": "x"}, r"holds half a character \(a lone surrogate\) \(line 3\)"),
    ],
)
def test_a_row_that_cannot_be_used_is_refused_or_on_demand_left_out_and_listed(
    row: dict[str, object], said: str, tmp_path: Path
) -> None:
    data = GOOD + json.dumps(row) + "\n"
    with pytest.raises(EvaluationError, match=f"1 of 3 rows cannot be used because {said}. Correct them, or"):
        own_task(write(tmp_path, "kind: classification\nlabels: [x, y]\n", data))
    task = own_task(write(tmp_path, "kind: classification\nlabels: [x, y]\nskip_bad_rows: true\n", data))
    assert len(task.eval_docs) == 2 and task.config.metadata["n_dropped"] == 1
    assert task.config.metadata["dropped"][0].startswith("line 3: ")


def test_E13_a_data_set_without_a_usable_row_says_why_each_was_dropped(tmp_path: Path) -> None:
    rows = [{"text": "", "label": "x"}] * 7 + [{"text": "a", "label": "z"}] * 5
    path = write(tmp_path, "kind: classification\nlabels: [x, y]\nskip_bad_rows: true\n", lines(*rows))
    with pytest.raises(EvaluationError) as error:
        own_task(path)
    assert str(error.value) == (
        "t.yaml: data.jsonl: no usable examples: 12 dropped because text is empty (7 rows, first in line 1);"
        " label 'z' is none of x, y (5 rows, first in line 8)."
    )


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"answer": "c"}, "answer 'c' is none of the choices"),
        ({"answer": 9}, "answer '9' is no number of a choice, counted from 0"),
        ({"choices": ["a", "a"]}, "choices must be 2 to 26, all different"),
        ({"choices": ["a"]}, "choices must be 2 to 26"),
        ({"choices": ["a", ""]}, "choices must be 2 to 26"),
        ({"choices": "a"}, "choices is no list"),
        ({"choices": ["", "b"]}, "a choice is empty"),
    ],
)
def test_E11_choices_that_cannot_be_judged_are_told(row: dict[str, object], said: str, tmp_path: Path) -> None:
    good = {"question": "q", "choices": ["a", "b"], "answer": "a"}
    form = "from_0" if row.get("answer") == 9 else "text"
    rows = lines({**good, "answer": 0} if form == "from_0" else good, {**good, **row})
    with pytest.raises(EvaluationError, match=said):
        own_task(write(tmp_path, f"kind: multiple_choice\nanswers: {form}\n", rows))


@pytest.mark.parametrize(
    ("kind", "columns", "data"),
    [
        ("perplexity", {"text": "a"}, {"a": "x"}),
        ("generation", {"source": "a", "target": ["b", "c"]}, {"a": "x", "b": "y", "c": "z"}),
        ("exact_match", {"question": "a", "answer": "b"}, {"a": "x", "b": "y"}),
        ("multiple_choice", {"question": "a", "choices": "b", "answer": "c"}, {"a": "x", "b": ["是", "no"], "c": "是"}),
    ],
)
def test_a_description_made_from_file_kind_and_columns_is_a_task_file(
    kind: str, columns: dict[str, str], data: dict[str, object], tmp_path: Path
) -> None:
    text = describe("我的 data.jsonl", kind, columns, language="zh")  # type: ignore[arg-type]
    (tmp_path / "我的 data.jsonl").write_text(lines(data), encoding="utf-8")
    (tmp_path / "t.yaml").write_text(text, encoding="utf-8")
    assert len(own_task(tmp_path / "t.yaml").eval_docs) == 1
    assert {**yaml.safe_load(text)}["columns"] == columns
    assert set(columns) == set(roles(kind))  # type: ignore[arg-type]
