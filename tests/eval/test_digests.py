"""What a task is must not depend on the process that asks: a run is resumed, and compared, by another one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import json, sys
from pathlib import Path
from eval.tasks.harness import TaskOptions, load_tasks
data = Path(sys.argv[1]) if sys.argv[1] else None
suite = load_tasks(json.loads(sys.argv[2]), TaskOptions(n_shots=2, limit=5), data=data)
print(json.dumps({name: task.digest() for name, task in suite.tasks.items()}))
"""
OF_THE_HUB = ["sst2", "stsb", "hellaswag", "gsm8k", "wikitext", "lambada_openai", "mmlu_abstract_algebra"]


def digests(tasks: list[str], data: str) -> list[dict[str, str]]:
    """Of the tasks, in two processes whose hashes begin with other seeds."""
    started = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, data, json.dumps(tasks)], stdout=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        )
        for seed in ("1", "2")
    ]
    return [json.loads(process.communicate()[0].splitlines()[-1]) for process in started]


@pytest.mark.timeout(300)
def test_digests_of_our_own_tasks_agree_between_processes() -> None:
    first, second = digests(["smoke"], "")
    assert len(first) == 8 and first == second


@pytest.mark.verify
@pytest.mark.timeout(300)
def test_digests_of_the_harness_s_tasks_agree_between_processes(hub_data: Path) -> None:
    first, second = digests(OF_THE_HUB, str(hub_data))
    assert list(first) == OF_THE_HUB and first == second
