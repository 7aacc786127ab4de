"""Small trainings of a tiny model, as the application does them."""

import hashlib
import json
from pathlib import Path
from typing import Any

from llm_app.config import Settings
from llm_app.data.mix import DatasetSpec
from llm_app.jobs.folder import RunFolder
from llm_app.jobs.train import Training, resume_training, start_training
from llm_app.jobs.train_in_place import InPlace
from llm_app.training.config import TrainConfig

WORDS = ("quick brown fox", "lazy dog", "one two three", "hello world", "another thing", "positive or negative")
# Two steps an epoch, dropout on, a validation and a checkpoint after every second step.
SMALL = TrainConfig(
    max_steps=8, batch_size=2, accumulation=2, max_length=64, rank=4, alpha=8.0, dropout=0.1, learning_rate=1e-2,
    precision="fp32", device="cpu", validate_every=2,
)  # fmt: skip


def examples(path: Path, n: int = 12, **more: Any) -> Path:
    """A file of questions and answers, each different."""
    rows = [
        {"prompt": f"say {WORDS[i % len(WORDS)]} {i}", "completion": f"{WORDS[-1 - i % len(WORDS)]} {i}"}
        for i in range(n)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def training(model: Path, data: Path, settings: Settings, config: TrainConfig = SMALL, **options: Any) -> Training:
    """A new run that trains in a process of its own."""
    return start_training(str(model), [DatasetSpec(str(data))], config, settings, **options)


def in_place(made: Training, settings: Settings) -> Training:
    """The same run, trained in this process: as when it was launched."""
    return Training(made.folder, settings, start=InPlace)


def resumed(folder: RunFolder, settings: Settings) -> Training:
    """The rest of a run, in this process."""
    return in_place(resume_training(folder, settings), settings)


def sha256(adapter: Path) -> str:
    """Of the weights."""
    return hashlib.sha256((adapter / "adapter_model.safetensors").read_bytes()).hexdigest()
