"""Runs of the Classify tab: a table that is classified, a classifier that is trained; started and resumed."""

from pathlib import Path

from llm_app.data.mix import DatasetSpec
from llm_app.errors import UserError
from llm_app.jobs import classify
from llm_app.jobs.classifier import ClassifierData, resume_classifier, start_classifier
from llm_app.jobs.classify_open import Asked, Classifiers
from llm_app.jobs.folder import RunFolder
from llm_app.jobs.queue import Work
from llm_app.jobs.store import RunStore
from llm_app.jobs.train_outcome import CLASSIFIER_KIND
from llm_app.services import Services
from llm_app.web.classify.desk import Desk, Known
from llm_app.web.classify.training import TrainingAsked
from llm_app.web.failures import SentenceError

KINDS = (classify.KIND, CLASSIFIER_KIND)


class Runs:
    """Makes runs and hands them to the queue."""

    def __init__(self, services: Services, desk: Desk, classifiers: Classifiers) -> None:
        self._services, self._desk, self._classifiers = services, desk, classifiers

    def classify(self, known: Known, asked: Asked, store: RunStore) -> str:
        """Put a run over this table in line; gives its id. Raises: UserError for what cannot be, or a full queue."""
        laid = known.laid
        source = classify.Source(Path(laid.path), known.rows.columns, laid.reading, self._desk.limits)
        work = classify.start(asked, source, self._classifiers, self._services.settings, store=store)
        return self._submitted(work, store)

    def train(self, known: Known, asked: TrainingAsked, store: RunStore) -> str:
        """Put a training on this table in line; gives its id. Raises: UserError for what cannot be trained."""
        laid = known.laid
        rows = DatasetSpec(laid.path, name=laid.name, reading=laid.reading, sha256=known.rows.digest)
        data = ClassifierData(rows, known.rows.columns, drops_unlabelled=laid.drops)
        work = start_classifier(
            data, asked.config, self._services.settings, store, base=asked.base, name=asked.name
        )
        return self._submitted(work, store)

    def resume(self, folder: RunFolder) -> Work:
        """The rest of a run, for the queue. Raises: UserError saying why it cannot go on."""
        if folder.spec().get("kind") != CLASSIFIER_KIND:
            return classify.resume(folder, self._classifiers)
        if self._services.settings.is_public:
            raise SentenceError("classify_train_public")
        return resume_classifier(folder, self._services.settings)

    def _submitted(self, work: Work, store: RunStore) -> str:
        try:
            return self._services.queue.submit(work, owner=store.owner)
        except UserError:
            store.delete(work.folder.id)
            raise
