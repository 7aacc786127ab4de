"""Runs of the Classify tab: a table that is classified, a classifier or a tagger that is trained; and resumed."""

from pathlib import Path

from llm_app.classify.config import ClassifierConfig
from llm_app.classify.entities.config import EntityConfig
from llm_app.data.mix import DatasetSpec
from llm_app.errors import UserError
from llm_app.jobs import classify
from llm_app.jobs.classifier import ClassifierData, Place, resume_classifier, start_classifier
from llm_app.jobs.classify_open import Asked
from llm_app.jobs.folder import RunFolder
from llm_app.jobs.queue import Work
from llm_app.jobs.search import Search
from llm_app.jobs.searched import CLASSIFIER as SEARCH_KIND
from llm_app.jobs.store import RunStore
from llm_app.jobs.tagger import TaggerData, resume_tagger, start_tagger
from llm_app.jobs.train_outcome import CLASSIFIER_KIND, TAGGER_KIND
from llm_app.jobs.train_search import resume_search, start_classifier_search
from llm_app.services import Services
from llm_app.training.search_config import SearchConfig
from llm_app.web.classify.desk import Desk, Known
from llm_app.web.classify.training import TrainingAsked
from llm_app.web.failures import SentenceError

KINDS = (classify.KIND, CLASSIFIER_KIND, TAGGER_KIND, SEARCH_KIND)


class Runs:
    """Makes runs and hands them to the queue."""

    def __init__(self, services: Services, desk: Desk) -> None:
        self._services, self._desk = services, desk

    def classify(self, known: Known, asked: Asked, store: RunStore) -> str:
        """Put a run over this table in line; gives its id. Raises: UserError for what cannot be, or a full queue."""
        source, services = self._desk.source(known.laid, known.rows.columns), self._services
        work = classify.start(
            asked, source, services.classifiers, services.settings, store=store, table=known.rows
        )
        return self._submitted(work, store)

    def train(self, known: Known, asked: TrainingAsked[ClassifierConfig], store: RunStore) -> str:
        """Put a training on this table in line; gives its id. Raises: UserError for what cannot be trained."""
        work = start_classifier(
            self._data(known), asked.config, self._services.settings, store, base=asked.base, name=asked.name
        )
        return self._submitted(work, store)

    def search(
        self, known: Known, asked: TrainingAsked[ClassifierConfig], search: SearchConfig, store: RunStore
    ) -> Search:
        """A search over trainings on this table, for the queue. Raises: UserError for what cannot be searched."""
        return start_classifier_search(
            self._data(known), asked.config, search, self._services.settings, store, base=asked.base, name=asked.name
        )

    def train_tagger(self, path: Path, asked: TrainingAsked[EntityConfig], store: RunStore) -> str:
        """Put a training on a CoNLL file in line; gives its id. Raises: UserError for what cannot be trained."""
        data = TaggerData(DatasetSpec(str(path), name=path.name))
        place = Place(asked.name)
        work = start_tagger(data, asked.config, self._services.settings, store, base=asked.base, place=place)
        return self._submitted(work, store)

    def resume(self, folder: RunFolder) -> Work:
        """The rest of a run, for the queue. Raises: UserError saying why it cannot go on."""
        kind = folder.spec().get("kind")
        if kind == classify.KIND:
            return classify.resume(folder, self._services.classifiers)
        if self._services.settings.is_public and kind != CLASSIFIER_KIND:
            raise SentenceError("classify_train_public")
        if kind == SEARCH_KIND:
            return resume_search(folder, self._services.settings)
        resume = resume_tagger if kind == TAGGER_KIND else resume_classifier
        return resume(folder, self._services.settings)

    def _submitted(self, work: Work, store: RunStore) -> str:
        try:
            return self._services.queue.submit(work, owner=store.owner)
        except UserError:
            store.delete(work.folder.id)
            raise

    def _data(self, known: Known) -> ClassifierData:
        """Raises: SentenceError if nothing says what is true; UserError if the rows to score on cannot be read."""
        if known.rows.columns.truth is None:
            raise SentenceError("table_no_truth")
        laid, test = known.laid, None
        rows = DatasetSpec(laid.path, name=laid.name, reading=laid.reading, sha256=known.rows.digest)
        if laid.scored_on is not None:
            found = self._desk.scored_rows(laid)
            test = DatasetSpec(laid.scored_on, name=found.name, reading=laid.reading, sha256=found.digest)
        return ClassifierData(rows, known.rows.columns, test, drops_unlabelled=laid.drops)
