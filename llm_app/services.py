"""What web page, API and command line are handed: built once, in app.py or cli.py."""

import time
from dataclasses import dataclass, field
from functools import cached_property

from llm_app.config import ServeConfig, Settings
from llm_app.engine.host import Host
from llm_app.engine.second import SecondModel
from llm_app.jobs.folder import RunIsRunning
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

    def runs(self, visitor: str | None = None) -> RunStore:
        """The runs of this machine; on a public demo, of one visitor."""
        return RunStore.of(self.settings, visitor)

    def delete_run(self, store: RunStore, run_id: str) -> list[str]:
        """Remove a run for good, and what it put among the adapters and models of this machine; gives their names.

        Raises: RunNotFound, RunIsRunning also for one that waits.
        """
        if any(job.run_id == run_id for job in self.queue.jobs(owner=store.owner)):
            raise RunIsRunning(f"Run {run_id} waits for its turn or is under way. Stop it first.", param="run")
        made = offered(run_id, self.settings)
        store.delete(run_id)
        for folder in made:
            withdraw(folder)
        return [folder.name for folder in made]

    def shutdown(self, grace_seconds: float) -> None:
        """Take nothing new; stop long work, which can be resumed, and let replies end for so long."""
        deadline = time.monotonic() + grace_seconds
        self.queue.close()
        self.host.shutdown(grace_seconds)
        self.second.shutdown(max(0.0, deadline - time.monotonic()))
        self.queue.join(JOB_SECONDS)
