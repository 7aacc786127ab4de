"""A search whose trials are small files instead of trainings: `python -m tests.jobs.toy_trials RUN [PAUSE]` does one.

A trial's loss falls towards the distance of its learning rate from 3e-4; with DoRA it fails at its third step.
"""

import json
import math
import sys
import time
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

from llm_app.errors import UserError
from llm_app.jobs.folder import RunFolder
from llm_app.jobs.search import Plan, Search, Tick
from llm_app.training.config import TrainConfig
from llm_app.training.search_space import Params, parse_space

N_STEPS = 10


class ToyTrials:
    """Trials as files `trial-N.jsonl` in a folder; each step is a line, measured at every second one."""

    def __init__(self, root: Path, pause: float = 0.0) -> None:
        self.root, self._pause = root, pause
        self.dropped: list[str] = []
        self.offered: list[str] = []
        self.stopped: UserError | None = None

    def is_possible(self, params: Params) -> bool:
        return params.get("rank") != 1

    def begin(self, params: Params, number: int) -> str:
        self.root.mkdir(exist_ok=True)
        path = self.root / f"trial-{number}.jsonl"
        path.write_text(json.dumps(dict(params)) + "\n")
        return path.name

    def run(self, run_id: str) -> Generator[Tick]:
        path = self.root / run_id
        data = path.read_bytes()
        first, *steps = [json.loads(line) for line in data[: data.rfind(b"\n") + 1].splitlines()]
        path.write_text("".join(json.dumps(line) + "\n" for line in [first, *steps]))
        for step, loss in steps:
            yield Tick(step, N_STEPS, loss)
        for step in range(len(steps), N_STEPS + 1):
            if self.stopped is not None:
                raise self.stopped
            if first.get("use_dora") and step == 3:
                raise UserError("DoRA burns here.")
            time.sleep(self._pause)
            distance = abs(math.log10(first.get("learning_rate", 1e-3)) + 3.5)
            loss = distance + 3 / (step + 1) if step % 2 == 0 else None
            with path.open("a") as file:
                file.write(json.dumps([step, loss]) + "\n")
            yield Tick(step, N_STEPS, loss)

    def stop(self, reason: UserError) -> None:
        self.stopped = reason

    def drop(self, run_id: str) -> None:
        self.dropped.append(run_id)

    def offer(self, run_id: str) -> Mapping[str, Any]:
        self.offered.append(run_id)
        return {}

    def n_steps(self) -> int:
        """Steps made by all trials, over all their parts."""
        return sum(path.read_text().count("\n") - 1 for path in self.root.glob("trial-*.jsonl"))


def toy_search(
    root: Path, *space: str, strategy: str = "random", n_trials: int = 8, seconds: float | None = None,
    pause: float = 0.0,
) -> tuple[Search, ToyTrials]:
    """A search in a new run folder under `root`."""
    spec = {"kind": "search", "space": space, "strategy": strategy, "n": n_trials, "seconds": seconds}
    return open_toy(RunFolder.create(root / "runs", spec), pause)


def open_toy(folder: RunFolder, pause: float = 0.0) -> tuple[Search, ToyTrials]:
    """The search in a run folder, or what is left of it."""
    spec = folder.spec()
    plan = Plan(parse_space(spec["space"], TrainConfig), spec["strategy"], 0, spec["n"], spec["seconds"])
    trials = ToyTrials(folder.path / "trials", pause)
    return Search(folder, plan, trials), trials


if __name__ == "__main__":
    for _ in open_toy(RunFolder(Path(sys.argv[1])), float(sys.argv[2]))[0].run():
        pass
