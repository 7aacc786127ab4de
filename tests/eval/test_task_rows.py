"""The rows that training data must not hold are those that the tasks ask about. Oracle: the loaded tasks."""

from pathlib import Path

from eval.tasks.harness import TaskOptions, load_tasks
from eval.tasks.rows import rows_of, shipped
from eval.tasks.suites import SMOKE


def test_every_shipped_task_gives_a_row_for_each_of_its_samples() -> None:
    suite = load_tasks(["smoke"], TaskOptions(n_bootstrap=0), data=None)
    found = [(task, number) for task, number, _ in rows_of(["smoke"], None)]
    assert found == [(name, sample.id) for name, task in suite.tasks.items() for sample in task.samples]
    assert {Path(name).stem for name in shipped()} >= {Path(entry.task).stem for entry in SMOKE.entries}


def test_the_texts_of_a_row_are_those_of_its_data() -> None:
    name = next(name for name in shipped() if Path(name).stem == "choices")
    first = next(texts for _, number, texts in rows_of([name], None) if number == 0)
    assert "Why do people put food into a refrigerator?" in first
    assert "to keep it fresh" in first


def test_rows_of_a_task_of_the_harness_come_from_the_data_folder(hub_data: Path) -> None:
    suite = load_tasks(["sst2"], TaskOptions(n_bootstrap=0, limit=1), data=hub_data)
    rows = list(rows_of(["sst2"], hub_data))
    sentence = rows[0][2][0].strip()
    assert len(rows) == 872
    assert sentence in suite.tasks["sst2"].samples[0].requests[0].text
