"""Training runs of this program: started, resumed, and thrown away while they run."""

from collections.abc import Sequence
from weakref import WeakValueDictionary

from llm_app.data.mix import DatasetSpec
from llm_app.errors import UserError
from llm_app.jobs.folder import RunFolder, RunNotFound
from llm_app.jobs.store import RunStore
from llm_app.jobs.train import Training, resume_training, start_training
from llm_app.services import Services
from llm_app.training.config import TrainConfig
from llm_app.web.failures import SentenceError


class Trainings:
    """What the queue holds of training; a run is known here for as long as it waits or runs."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._held: WeakValueDictionary[str, Training] = WeakValueDictionary()

    def start(
        self, model: str, datasets: Sequence[DatasetSpec], config: TrainConfig, name: str | None, store: RunStore
    ) -> str:
        """Make a run and put it in line; gives its id.

        Raises: UserError for what cannot be trained, or when too many wait.
        """
        training = start_training(model, datasets, config, self._services.settings, store, name=name)
        self._held[training.folder.id] = training
        try:
            return self._services.queue.submit(training, owner=store.owner)
        except UserError:
            store.delete(training.folder.id)
            raise

    def resume(self, folder: RunFolder) -> Training:
        """The rest of a run, for the queue.

        Raises: UserError saying why it cannot go on.
        """
        training = resume_training(folder, self._services.settings)
        self._held[folder.id] = training
        return training

    def discard(self, run_id: str, store: RunStore) -> None:
        """Stop a run and throw away what it learned. One that is over stays as it is.

        Raises: RunNotFound, SentenceError for a run of another program.
        """
        run = store.read(run_id)
        try:
            state = self._services.queue.status(run_id, owner=store.owner).state
        except RunNotFound:
            if run.status == "running":
                raise SentenceError("run_elsewhere") from None
            return
        training = self._held.get(run_id)
        if state == "queued" or training is None:
            self._services.queue.cancel(run_id, owner=store.owner)
        elif state != "over":
            training.discard()
