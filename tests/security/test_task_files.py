"""Row A14 of the threats: a task file is data. Nothing in it runs, and it reads nothing outside its folder."""

import ast
import os
from pathlib import Path

import pytest

from eval.tasks.harness import TaskOptions, load_tasks
from eval.tasks.own import own_task
from eval.types import EvaluationError

ROOT = Path(__file__).parent.parent.parent
TASK = "name: t\nkind: exact_match\ndata: d.jsonl\n"
ROW = '{"question": "q", "answer": "a"}\n'


def write(folder: Path, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "d.jsonl").write_text(ROW)
    (folder / "t.yaml").write_text(text)
    return folder / "t.yaml"


@pytest.mark.parametrize(
    "line",
    [
        "prompt: !function evil.run",
        "prompt: !!python/object/apply:os.system ['touch marker']",
        "prompt: !!python/name:os.system",
        "prompt: !include other.yaml",
        "process_results: !function evil.run",
    ],
)
def test_A14_no_tag_of_yaml_is_taken_and_no_function_runs(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "evil.py").write_text("open('marker', 'w')\ndef run(*args): open('marker', 'w')\n")
    path = write(tmp_path, f"{TASK}{line}\n")
    with pytest.raises(EvaluationError, match=r"YAML tags .* are not taken here, line 4"):
        load_tasks([str(path)], TaskOptions(), data=None)
    assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize("key", ["doc_to_text", "include", "dataset_path", "task", "class", "group", "custom_dataset"])
def test_A14_keys_of_the_harness_that_could_name_code_are_unknown(key: str, tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match=f"there is no key '{key}'"):
        load_tasks([str(write(tmp_path, f"{TASK}{key}: x\n"))], TaskOptions(), data=None)


@pytest.mark.parametrize(
    "inside", ["().__class__.__base__.__subclasses__()", "cycler.__init__.__globals__.os", "7*7", "question.upper()"]
)
def test_A14_a_prompt_names_columns_and_calculates_nothing(inside: str, tmp_path: Path) -> None:
    path = write(tmp_path, f'{TASK}prompt: "{{{{ {inside} }}}}"\n')
    with pytest.raises(EvaluationError, match="d.jsonl has no column"):
        own_task(path)


def test_A14_what_looks_like_a_template_in_a_prompt_or_in_data_stays_text(tmp_path: Path) -> None:
    path = write(tmp_path, TASK + 'prompt: "{% for i in range(10**9) %}{{question}}{% endfor %}{0}"\n')
    (tmp_path / "d.jsonl").write_text('{"question": "{{ 7*7 }}{{answer}}", "answer": "{{ 7*7 }}"}\n')
    (sample,) = load_tasks([str(path)], TaskOptions(), data=None).tasks["t"].samples
    assert sample.requests[0].text == "{% for i in range(10**9) %}{{ 7*7 }}{{answer}}{% endfor %}{0}"
    (doc,) = own_task(path).eval_docs
    assert own_task(path).doc_to_target(doc) == ["{{ 7*7 }}"]


@pytest.mark.parametrize(
    "name", ["../secret.jsonl", "{absolute}", "link.jsonl", "linked/secret.jsonl", "a/../../secret.jsonl"]
)
@pytest.mark.parametrize("key", ["data", "examples"])
def test_A14_data_outside_the_folder_of_the_task_file_is_not_read(key: str, name: str, tmp_path: Path) -> None:
    secret = tmp_path / "secret.jsonl"
    secret.write_text(ROW)
    path = write(tmp_path / "own", "")
    (path.parent / "link.jsonl").symlink_to(secret)
    (path.parent / "linked").symlink_to(tmp_path)
    given = {"data": "d.jsonl", key: name.format(absolute=secret)}
    path.write_text("name: t\nkind: exact_match\n" + "".join(f"{k}: {v}\n" for k, v in given.items()))
    with pytest.raises(EvaluationError, match="lies outside the folder of the task file"):
        own_task(path)


@pytest.mark.parametrize("name", ["'a\\0b'", '"a\\0b.jsonl"', ".", "/dev/zero", "fifo.jsonl"])
def test_A14_what_is_no_plain_file_is_not_opened(name: str, tmp_path: Path) -> None:
    path = write(tmp_path, f"name: t\nkind: exact_match\ndata: {name}\n")
    os.mkfifo(tmp_path / "fifo.jsonl")
    with pytest.raises(EvaluationError):
        own_task(path)


def test_A14_aliases_that_blow_up_cost_nothing(tmp_path: Path) -> None:
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
    )
    with pytest.raises(EvaluationError, match="there is no key 'a0'"):
        own_task(write(tmp_path, bomb))
    with pytest.raises(EvaluationError, match="too long"):
        own_task(write(tmp_path, TASK + "prompt: " + "x" * 70_000))
    with pytest.raises(EvaluationError, match="not valid YAML"):
        own_task(write(tmp_path, "[" * 30_000))


def test_A14_yaml_is_read_in_one_way_only() -> None:
    found = {
        ast.unparse(node.func)
        for path in [*(ROOT / "eval").rglob("*.py"), *(ROOT / "llm_app").rglob("*.py")]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("yaml.")
    }
    assert {name for name in found if "load" in name} == {"yaml.safe_load"}
