"""What web page, API and command line are handed: built once, in app.py or cli.py."""

import time
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

from llm_app.config import ServeConfig, Settings
from llm_app.engine.host import Host
from llm_app.engine.second import SecondModel
from llm_app.errors import UserError
from llm_app.jobs.classify_open import Classifiers
from llm_app.jobs.folder import RunFolder, RunIsRunning
from llm_app.jobs.queue import Queue
from llm_app.jobs.store import RunStore
from llm_app.jobs.train_result import offered, withdraw

JOB_SECONDS = 5.0  # for the pass of the model that long work is in; after that it ends like after a kill


@dataclass(frozen=True)
class Services:
    """The parts of a running application."""

    settings: Settings
    serve: ServeConfig
    host: Host
    queue: Queue = field(default_factory=Queue)

    @cached_property
    def second(self) -> SecondModel:
        """A model beside the host's, for comparisons; none is loaded before somebody asks for one."""
        return SecondModel(self.host)

    @cached_property
    def classifiers(self) -> Classifiers:
        """What classifies, for the page and the API; none is opened before somebody asks for one."""
        return Classifiers(self.host, self.settings)

    def give_back(self) -> None:
        """Let go of what is loaded beside the host's model and not in use: somebody needs the memory."""
        self.classifiers.give_back()
        self.second.give_back()

    def runs(self, visitor: str | None = None) -> RunStore:
        """The runs of this machine; on a public demo, of one visitor."""
        return RunStore.of(self.settings, visitor, self.queue.is_holding)

    def left_by(self, store: RunStore, run_id: str) -> list[str]:
        """What goes with a run: its adapters/NAME and models/NAME on this machine.

        Raises: RunNotFound.
        """
        return [_name(folder) for folder in offered(self._run(store, run_id), self.settings)]

    def delete_run(self, store: RunStore, run_id: str) -> list[str]:
        """Remove for good what a run put among adapters and models of this machine, then the run; gives their names.

        Raises: RunNotFound, RunIsRunning also for one that waits; UserError if one of them is in use or cannot be
        removed, naming what is gone by then.
        """
        run = self._run(store, run_id)
        if self.queue.is_holding(run_id) or run.is_locked():
            raise RunIsRunning(f"Run {run_id} waits for its turn or is under way. Stop it first.", param="run")
        made, gone = offered(run, self.settings), list[str]()
        for folder in made:
            self._check_unused(folder)
        try:
            for folder in made:
                withdraw(folder)
                gone.append(_name(folder))
            store.delete(run_id)
        except UserError as error:
            if not gone:
                raise
            raise UserError(f"{error.message} Deleted before that: {', '.join(gone)}.", param=error.param) from error
        return gone

    def _check_unused(self, folder: Path) -> None:
        """Raises: UserError if a loaded model is read from this folder, or has it attached."""
        name, use = _name(folder), self._use_of(folder, self.host)
        if use is not None:
            attached = "attached to the loaded model. Choose no adapter and press Load"
            what = attached if use == "adapter" else "the loaded model. Unload it"
            raise UserError(f"{name} is {what}, then delete the run.", param="run")
        if self._use_of(folder, self.second.host) is not None:
            raise UserError(
                f"{name} is in use by the second model of Compare. Choose another comparison there, or press Unload,"
                " then delete the run.", param="run",
            )  # fmt: skip

    def _use_of(self, folder: Path, host: Host) -> Literal["adapter", "model"] | None:
        try:
            loaded = host.loaded
        except UserError:  # there is none
            return None
        if folder.parent == self.settings.adapters and folder.name in loaded.adapters.names:
            return "adapter"
        return "model" if folder == loaded.entry.path else None

    def _run(self, store: RunStore, run_id: str) -> RunFolder:
        return RunFolder(store.root / store.read(run_id).id)  # damaged ones, too

    def shutdown(self, grace_seconds: float) -> None:
        """Take nothing new; stop long work, which can be resumed, and let replies end for so long."""
        deadline = time.monotonic() + grace_seconds
        self.queue.close()
        self.host.shutdown(grace_seconds)
        self.second.shutdown(max(0.0, deadline - time.monotonic()))
        self.queue.join(JOB_SECONDS)
        self.classifiers.close()


def _name(folder: Path) -> str:
    """With the kind of thing it is: adapters/NAME or models/NAME."""
    return f"{folder.parent.name}/{folder.name}"
