"""Several processes train one model as one process would."""

import json
import os
import subprocess
import sys

import pytest

from llm_app.training.events import Step
from tests.training.tiny_run import some_examples, tiny_config, tiny_trainer


def test_two_launched_processes_have_the_losses_of_one(tiny_llama, tmp_path):
    # Accelerate's name for "start the processes yourself", on a machine without GPUs too; --cpu leaves that to mpirun.
    command = [
        sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2",
        "--num_machines", "1",
        "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0",
        "-m", "tests.training.two_processes", str(tiny_llama), str(tmp_path),
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.getcwd()}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads((tmp_path / "told.json").read_text())

    config = tiny_config(batch_size=2, accumulation=4)
    events = list(tiny_trainer(tiny_llama, config, tmp_path, examples=some_examples(21), n_validation=5).run())
    assert told["n_processes"] == 2
    for kind, is_step in (("losses", True), ("validation", False)):
        expected = [event.loss for event in events if isinstance(event, Step) == is_step]
        assert told[kind] == pytest.approx(expected, rel=1e-5)
