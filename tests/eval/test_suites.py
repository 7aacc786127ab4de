"""The suites: what they name exists, the items that ship with the project are sound, and Smoke runs as it is."""

import csv
import json
import unicodedata
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import pytest

from eval.runner import evaluate
from eval.tasks.book import LocalTasks, names
from eval.tasks.groups import task_groups
from eval.tasks.harness import Suite, TaskOptions, load_tasks
from eval.tasks.loading import OWN
from eval.tasks.own import is_task_file
from eval.tasks.own_rows import read_rows
from eval.tasks.suites import FULL, GLUE, QUICK, SMOKE, SMOKE_DATA, SUITES, Entry, expand
from eval.types import EvaluationError
from llm_app.config import ModelConfig, Settings
from llm_app.engine.host import Host
from llm_app.jobs.answers import EngineModel
from tests import tiny

DATA = sorted(
    path for path in SMOKE_DATA.iterdir() if path.suffix in (".csv", ".jsonl") and "examples" not in path.name
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineModel]:
    folder = tiny.make_model(tmp_path_factory.mktemp("models") / "tiny", n_context=2048)
    host = Host(Settings(home=tmp_path_factory.mktemp("home")))
    for _ in host.load(ModelConfig(str(folder), precision="fp32")):
        pass
    yield EngineModel(host)
    host.unload()


@pytest.fixture(scope="module")
def smoke() -> Suite:
    return load_tasks(["smoke"], TaskOptions(), data=None)


def docs(smoke: Suite, name: str) -> list[dict[str, Any]]:
    return list(smoke.tasks[f"smoke_{name}"].harness.eval_docs)


def test_every_task_that_a_suite_names_exists() -> None:
    known = {*names(), *OWN}
    for suite in SUITES:
        for entry in suite.entries:
            assert Path(entry.task).is_file() if is_task_file(entry.task) else entry.task in known, entry.task


def test_every_task_that_a_suite_names_is_defined_by_the_harness_itself() -> None:
    wanted = {entry.task for suite in SUITES for entry in suite.entries if not is_task_file(entry.task)} - OWN.keys()
    assert wanted - LocalTasks(sorted(wanted), None).task_index.keys() == set()  # an index of lm_eval's own


def test_quick_has_its_data_in_the_folder_of_the_tests(hub_data: Path) -> None:
    suite = load_tasks(["quick"], TaskOptions(limit=1), data=hub_data)
    assert list(suite.tasks) == [entry.task for entry in QUICK.entries]
    assert all(task.samples[0].problem is None for task in suite.tasks.values())


def test_all_tasks_that_lack_data_are_named_at_once(hub_data: Path) -> None:
    with pytest.raises(EvaluationError) as error:
        load_tasks(["full"], TaskOptions(limit=1), data=hub_data)
    lines = str(error.value).splitlines()
    missing = ["mnli_mismatch", "rte", "winogrande", "openbookqa", "truthfulqa_mc2", "mmlu", "cmmlu"]
    assert lines[0].startswith(f"7 of 23 lack data: {', '.join(missing)}. Set PROOFBENCH_DATA to")
    assert [name for name, line in zip(missing, lines[1:], strict=True) if name in line] == missing


def test_a_name_that_is_unknown_is_told_before_any_data_is_read(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="There is no task rtee"):
        load_tasks(["rte", "rtee"], TaskOptions(limit=1), data=tmp_path)


def test_a_suite_stands_for_its_tasks_in_order_and_nothing_comes_twice() -> None:
    assert expand(["wikitext", "quick", "sst2"]) == [Entry("wikitext"), *QUICK.entries[:-1]]
    assert expand(["glue"]) == list(GLUE.entries) == list(FULL.entries[:10])


def test_what_the_person_asks_for_goes_before_the_numbers_of_the_suite() -> None:
    assert Entry("gsm8k", 5, 100).asked(None, None) == (5, 100)
    assert Entry("gsm8k", 5, 100).asked(0, 7) == (0, 7)


def test_each_smoke_task_has_40_to_100_items(smoke: Suite) -> None:
    assert len(smoke.tasks) == len(SMOKE.entries) == len(DATA)
    assert all(40 <= len(task.samples) <= 100 for task in smoke.tasks.values())


@pytest.mark.parametrize("path", DATA, ids=lambda path: path.stem)
def test_no_smoke_item_occurs_twice_or_among_the_examples(path: Path) -> None:
    def key(cells: dict[str, Any]) -> str:
        first = next(iter(cells.values())) if "hypothesis" not in cells else cells["premise"] + cells["hypothesis"]
        return "".join(c for c in first.lower() if c.isalnum())

    examples = path.with_name(f"{path.stem}_examples{path.suffix}")
    rows = [*read_rows(path), *(read_rows(examples) if examples.exists() else [])]
    assert [name for name, n in Counter(key(row.cells) for row in rows).items() if n > 1] == []


@pytest.mark.parametrize(
    ("name", "n_labels"), [("sentiment_en", 2), ("sentiment_zh", 2), ("entailment", 3), ("choices", 4)]
)
def test_right_answers_of_smoke_are_balanced(name: str, n_labels: int, smoke: Suite) -> None:
    counts = Counter(doc["target"] for doc in docs(smoke, name))
    assert len(counts) == n_labels and len(set(counts.values())) == 1


def test_every_premise_has_one_sentence_of_each_kind() -> None:
    kinds: dict[str, set[str]] = {}
    with (SMOKE_DATA / "entailment.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            kinds.setdefault(row["premise"], set()).add(row["label"])
    assert all(found == {"entailment", "neutral", "contradiction"} for found in kinds.values())


def test_choices_are_four_and_the_right_one_is_not_the_longest_more_often_than_by_chance(smoke: Suite) -> None:
    items = docs(smoke, "choices")
    assert all(len(doc["choices"]) == 4 for doc in items)
    n_longest = sum(len(doc["choices"][doc["target"]]) > max(
        len(choice) for n, choice in enumerate(doc["choices"]) if n != doc["target"]
    ) for doc in items)
    assert n_longest <= 0.4 * len(items)


def test_the_texts_of_smoke_are_in_the_language_that_they_claim() -> None:
    def share_of_han(text: str) -> float:
        letters = [c for c in text if c.isalpha()]
        return sum("CJK" in unicodedata.name(c) for c in letters) / len(letters)

    for path in DATA:
        for row in read_rows(path):
            for column, value in row.cells.items():
                is_chinese = column == "chinese" or path.stem == "sentiment_zh" and column == "text"
                for text in value if isinstance(value, list) else [value]:
                    if any(c.isalpha() for c in text):
                        assert share_of_han(text) == (1.0 if is_chinese else 0.0), text


def test_a_summary_of_smoke_is_shorter_than_half_of_its_article_and_an_answer_is_short() -> None:
    for line in (SMOKE_DATA / "summaries.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        assert len(row["summary"]) < 0.5 * len(row["article"])
    for line in (SMOKE_DATA / "answers.jsonl").read_text(encoding="utf-8").splitlines():
        assert all(len(answer.split()) <= 3 for answer in json.loads(line)["answer"])


@pytest.mark.timeout(300)
def test_the_whole_smoke_suite_runs_offline_and_scores_every_item(model: EngineModel) -> None:
    suite = load_tasks(["smoke"], TaskOptions(), data=None, model=model)
    for task in suite.tasks.values():
        results = list(evaluate(task, model))
        assert [result.error for result in results] == [None] * len(task.samples)
        scores = task.aggregate(results, n_bootstrap=100)
        values = [value for name, value in scores.items() if name.endswith(",none") and "_stderr" not in name]
        assert len(values) >= 2 and all(value == value for value in values), scores


GLUE_METRICS = {
    "cola": ["mcc"], "sst2": ["acc"], "mrpc": ["acc", "f1"], "stsb": ["pearson", "spearman"], "qqp": ["acc", "f1"],
    "mnli": ["acc"], "mnli_mismatch": ["acc"], "qnli": ["acc"], "rte": ["acc"], "wnli": ["acc"],
}


@pytest.fixture(scope="module")
def whole_glue(hub_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The GLUE that is there, with a few rows in place of RTE and of the mismatched part of MNLI."""
    folder = tmp_path_factory.mktemp("hub") / "nyu-mll" / "glue"
    parts: dict[str, dict[str, Path]] = {}
    for path in sorted((hub_data / "nyu-mll" / "glue").rglob("*.parquet")):
        parts.setdefault(path.parent.name, {})[path.stem] = path
    rte = [{"sentence1": f"Ann saw {n} cats.", "sentence2": "Cats.", "label": n % 2, "idx": n} for n in range(8)]
    mnli = [{"premise": f"{n} dogs", "hypothesis": "dogs", "label": n % 3, "idx": n} for n in range(8)]
    made = {"rte": {"train": rte, "validation": rte}, "mnli": {"validation_mismatched": mnli}}
    for config, splits in made.items():
        for split, rows in splits.items():
            path = folder / config / f"{split}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            datasets.Dataset.from_list(rows).to_parquet(path)
            if split not in parts.setdefault(config, {}):
                parts[config][split] = path
    lines = ["---", "configs:"]
    for config, files in parts.items():
        lines += [f"- config_name: {config}", "  data_files:"]
        for split, path in files.items():
            (folder / config).mkdir(exist_ok=True)
            if not (folder / config / path.name).exists():
                (folder / config / path.name).symlink_to(path)
            lines += [f"  - split: {split}", f"    path: {config}/{path.name}"]
    (folder / "README.md").write_text("\n".join([*lines, "---", ""]))
    return folder.parents[1]


@pytest.mark.timeout(300)
def test_glue_is_all_nine_tasks_with_the_metrics_of_glue(whole_glue: Path, model: EngineModel) -> None:
    suite = load_tasks(["glue"], TaskOptions(limit=4), data=whole_glue, model=model)
    assert list(suite.tasks) == list(GLUE_METRICS)
    (glue,) = task_groups(suite, ["glue"]).values()  # one thing was asked for: GLUE's mean, MNLI counted once
    assert (glue.name, glue.tasks) == ("glue", tuple(GLUE_METRICS))
    assert sum(glue.metrics[0].weights.values()) == 9 and glue.metrics[0].weights["mnli"] == 0.5
    for name, task in suite.tasks.items():
        assert list(task.harness.aggregation()) == GLUE_METRICS[name]
        results = list(evaluate(task, model))
        assert [result.error for result in results] == [None] * 4
        assert {f"{metric},none" for metric in GLUE_METRICS[name]} <= task.aggregate(results, n_bootstrap=0).keys()
    assert suite.tasks["mnli"].digest() != suite.tasks["mnli_mismatch"].digest()
