"""What a visitor of a public demo may train: so little that others need not wait long."""

import contextlib
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from llm_app.config import Settings
from llm_app.data.mix import DatasetSpec, load
from llm_app.data.table import MEGABYTE, Limits
from llm_app.errors import UserError
from llm_app.jobs.ending import Paused
from llm_app.jobs.folder import RunFolder
from llm_app.jobs.store import RunStore
from llm_app.jobs.train_child import ProcessLost
from llm_app.training.config import TrainConfig

STEPS, LENGTH, EVERY, A_STEP = 50, 512, 10, 16
SECONDS, GRACE_SECONDS = 300.0, 60.0  # then it is asked to save and end; then it is ended
N_DATASETS, N_EXAMPLES, WEIGHT = 5, 5_000, 3.0
FILE = Limits(file_bytes=2 * MEGABYTE, n_rows=N_EXAMPLES)
AT_MOST = {"max_steps": STEPS, "max_length": LENGTH, "rank": 16, "keep": 1}
AT_LEAST = {"validate_every": EVERY, "save_every": EVERY}
# What a form begins with; `public_config` takes each as it stands.
DEFAULTS = {"max_steps": STEPS, "max_length": LENGTH, "validate_every": EVERY, "keep": 1}


class TimeUp(Paused):
    """The run had as long as a public demo gives it."""

    status, code = 408, "time_is_up"


class Work(Protocol):
    """A run under way. Both are for any thread."""

    def stop(self, reason: UserError) -> None:
        """Ask it to save and end."""
        ...

    def kill(self) -> None:
        """End it at once, saving nothing more."""
        ...


def public_config(config: TrainConfig) -> TrainConfig:
    """The settings, with a public demo's choice of what they leave to the program.

    Raises: UserError naming the first setting that is beyond what it does, and the limit.
    """
    if config.method != "lora":
        raise UserError("A public demo trains LoRA adapters only. Choose method lora.", param="method")
    if config.report_to != "none":
        raise UserError("A public demo reports to nothing else. Choose report_to none.", param="report_to")
    if config.max_steps is None or config.max_steps > STEPS:
        raise UserError(f"A public demo trains at most {STEPS} steps. Set max_steps.", param="max_steps")
    if config.batch_size * config.accumulation > A_STEP:
        raise UserError(
            f"A public demo takes at most {A_STEP} examples a step. Choose a batch_size and an accumulation whose"
            " product is no more.", param="batch_size",
        )
    found = replace(
        config, max_length=config.max_length or LENGTH, validate_every=config.validate_every or EVERY
    )
    for name, most in AT_MOST.items():
        if getattr(found, name) > most:
            raise UserError(f"{name} is at most {most} on a public demo, not {getattr(found, name):,}.", param=name)
    for name, least in AT_LEAST.items():
        value = getattr(found, name)
        if value is not None and value < least:
            raise UserError(f"{name} is at least {least} on a public demo, not {value}.", param=name)
    return found


def check_public_data(datasets: Sequence[DatasetSpec], seed: int) -> None:
    """Reads no more than is needed to know.

    Raises: UserError if this is more than a public demo trains on, naming the limit, or if a file cannot be read.
    """
    if len(datasets) > N_DATASETS:
        raise UserError(f"A public demo takes at most {N_DATASETS} data sets, not {len(datasets)}.", param="data")
    n_examples = 0
    for dataset in datasets:
        if dataset.weight > WEIGHT:
            raise UserError(f"weight is at most {WEIGHT:g} on a public demo, not {dataset.weight:g}.", param="weight")
        n_examples += len(load([dataset], seed, FILE).examples)
        if n_examples > N_EXAMPLES:
            raise UserError(
                f"A public demo takes at most {N_EXAMPLES:,} examples after weights. Choose fewer data sets or"
                " smaller weights.", param="data",
            )


@contextlib.contextmanager
def in_time(work: Work, left: Path, settings: Settings) -> Iterator[None]:
    """On a public demo, stops what is done in this block when its time is up, and leaves nothing in the folder `left`.

    Raises: TimeUp, also where the work had to be killed because it did not follow.
    """
    if not settings.is_public:
        yield
        return
    reason = TimeUp(f"A public demo trains for at most {SECONDS / 60:g} minutes, and these are over.")
    timers = [threading.Timer(SECONDS, work.stop, [reason]), threading.Timer(SECONDS + GRACE_SECONDS, work.kill)]
    ends = time.monotonic() + SECONDS
    for timer in timers:
        timer.daemon = True
        timer.start()
    try:
        yield
    except ProcessLost as error:
        if time.monotonic() < ends:
            raise
        raise reason from error
    finally:
        for timer in timers:
            timer.cancel()
        shutil.rmtree(left, ignore_errors=True)


def forget_all(store: RunStore, name: str) -> None:
    """Take the folder `name` from runs that a killed program left behind: it counts against what a visitor may keep."""
    for run_id in store.ids():
        folder = RunFolder(store.root / run_id)
        if not folder.is_locked():
            shutil.rmtree(folder.path / name, ignore_errors=True)
