"""What "Did it help?" is tried on: data, a task that has nothing to do with it, a training run, a kill."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from llm_app.config import Settings
from llm_app.data.mix import DatasetSpec
from llm_app.jobs.folder import RunFolder
from llm_app.jobs.helped import Helped
from llm_app.jobs.train import start_training
from llm_app.training.config import TrainConfig

TEXT = "the quick brown fox jumps over {} lazy dogs, and another one wants to say hello"


def plain_task(folder: Path) -> Path:
    """Six texts, as a task file."""
    (folder / "plain.jsonl").write_text("".join(json.dumps({"text": TEXT.format(n)}) + "\n" for n in range(6)))
    (folder / "plain.yaml").write_text("name: plain\nkind: perplexity\ndata: plain.jsonl\n")
    return folder / "plain.yaml"


def conversations(path: Path) -> Path:
    """Twenty-four of them; some answers repeat a text of the task."""
    rows = [(f"say it {n} times", TEXT.format(n)) for n in range(6)]
    rows += [(f"question {n}", f"answer {n}") for n in range(18)]
    path.write_text("".join(
        json.dumps({"messages": [{"role": "user", "content": q}, {"role": "assistant", "content": a}]}) + "\n"
        for q, a in rows
    ))
    return path


def trained(model: Path, data: Path, settings: Settings, config: TrainConfig) -> RunFolder:
    """A training run that came to its end."""
    training = start_training(str(model), [DatasetSpec(data, None, 1.0)], config, settings)
    for _ in training.run():
        pass
    return training.folder


def killed(helped: Helped, settings: Settings) -> None:
    """Do it in another process, and kill that once something is answered."""
    child = subprocess.Popen(
        [sys.executable, "-m", "llm_app", "helped", "--resume", helped.folder.id, "--precision", "fp32"],
        env=os.environ | {"PROOFBENCH_HOME": str(settings.home)}, cwd=Path(__file__).parents[2],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )
    events = helped.folder.path / "events.jsonl"
    while child.poll() is None and not (events.exists() and b"measured" in events.read_bytes()):
        time.sleep(0.0005)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL, "it was over before it could be killed"
