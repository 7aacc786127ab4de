"""Which classifier is asked, with which labels and examples; trained ones stay open for the next who asks."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llm_app.classify.config import ZeroShotConfig
from llm_app.classify.folder import is_classifier, read_note
from llm_app.classify.learned import n_among, read_learned
from llm_app.classify.lora_head import LoraClassifier
from llm_app.classify.network import NetworkClassifier
from llm_app.classify.open import open_classifier, trained_folder
from llm_app.classify.prompt import Example, choose_examples
from llm_app.classify.table import LabelledTable, item_digest, renamed_by_place, with_strangers_told
from llm_app.classify.types import Classifier
from llm_app.config import Settings
from llm_app.engine.host import Host
from llm_app.engine.loading import release_memory
from llm_app.errors import DoesNotFit, UserError

MAX_OPEN = 2  # trained classifiers that stay in memory
Key = tuple[Path, int, bool, tuple[str, ...]]


@dataclass(frozen=True)
class Asked:
    """Which classifier: a trained one, or a chat model with the labels that it is to choose among.

    `is_strict`: a text that is too long is refused instead of cut.
    """

    model: str
    labels: tuple[str, ...] = ()
    zero_shot: ZeroShotConfig = ZeroShotConfig()
    is_strict: bool = False


@dataclass(frozen=True)
class Opened:
    """A classifier for a table, whose numbers stand for its labels now.

    `shown`: places of the rows that say what one of the examples says that it is shown; `loaded`: of a chat model, how
    it was loaded; `n_learned`: rows of the table that a trained classifier learned from or was chosen by.
    """

    classifier: Classifier
    table: LabelledTable
    shown: tuple[int, ...] = ()
    loaded: Mapping[str, Any] = field(default_factory=dict)
    n_learned: int = 0


@dataclass
class _Kept:
    classifier: Classifier
    n_users: int


class Classifiers:
    """Lends what was asked for. A trained classifier that was used a moment ago is not read again. For any thread.

    At most MAX_OPEN stay that nobody uses; the one that was not asked for longest goes first.
    """

    def __init__(self, host: Host, settings: Settings) -> None:
        self._host, self._settings = host, settings
        self._lock = threading.Lock()
        self._opening = threading.Lock()  # one after the other, so that none is read twice
        self._open: OrderedDict[Key, _Kept] = OrderedDict()
        self._n_idle = MAX_OPEN

    @contextmanager
    def lent(self, asked: Asked, examples: Sequence[Example] = ()) -> Iterator[Classifier]:
        """The classifier, for as long as this lasts. Raises: as `open_classifier`."""
        folder = trained_folder(asked.model, self._settings)
        if folder is None:
            yield self._new(asked, examples)
            return
        kept = self._taken((folder, folder.stat().st_mtime_ns, asked.is_strict, asked.labels), asked)
        try:
            yield kept.classifier
        finally:
            with self._lock:
                kept.n_users -= 1
            self._trim(self._n_idle)

    @contextmanager
    def lent_for(self, asked: Asked, table: LabelledTable) -> Iterator[Opened]:
        """The classifier for a table. A chat model that got no labels chooses among those of the truth column.

        Raises: as `open_classifier`; UserError if examples are wanted and the table has no truths to take them from.
        """
        if trained_folder(asked.model, self._settings) is not None:
            with self.lent(asked) as classifier:
                yield Opened(classifier, _meeting(table, classifier.labels))
            return
        labels = asked.labels or table.labels
        table = _meeting(table, labels)
        if asked.zero_shot.n_examples and table.columns.truth is None:
            raise UserError("Examples come from the table: choose the column that holds their labels.", param="truth")
        truths = [truth if isinstance(truth, str) else None for truth in table.truths]
        chosen = choose_examples(truths, labels, asked.zero_shot)
        examples = [(table.items[place], truth) for place in chosen if (truth := truths[place]) is not None]
        seen = {item_digest(item) for item, _ in examples}
        shown = [place for place, item in enumerate(table.items) if item_digest(item) in seen] if seen else []
        asked = Asked(asked.model, labels, asked.zero_shot, asked.is_strict)
        classifier, model = self._new(asked, examples), self._host.loaded
        yield Opened(classifier, table, tuple(shown), {
            "adapter_name": self._host.adapter, "precision": model.precision, "device": model.device.type,
            "context": model.n_context,
        })  # fmt: skip

    def give_back(self) -> None:
        """Let go of all that nobody uses now: somebody else needs the memory."""
        self._trim(0)

    def close(self) -> None:
        """Let go of all; of what is still in use, as soon as it is not."""
        self._n_idle = 0
        self._trim(0)

    def _taken(self, key: Key, asked: Asked) -> _Kept:
        kept = self._used(key)
        if kept is not None:
            return kept
        with self._opening:  # it takes seconds; what is open already is lent meanwhile
            kept = self._used(key)
            if kept is not None:
                return kept
            self._trim(MAX_OPEN - 1)
            classifier = self._opened(asked)
            kept = _Kept(classifier, n_users=1)
            # A head on the model that is loaded anyway is there at once; kept, it would keep that model too.
            if not isinstance(classifier, LoraClassifier) or classifier.has_own_base:
                with self._lock:
                    self._open[key] = kept
        return kept

    def _used(self, key: Key) -> _Kept | None:
        with self._lock:
            kept = self._open.get(key)
            if kept is not None:
                self._open.move_to_end(key)
                kept.n_users += 1
        return kept

    def _opened(self, asked: Asked) -> Classifier:
        try:
            return self._new(asked)
        except DoesNotFit:
            self.give_back()
            return self._new(asked)

    def _trim(self, n_idle: int) -> None:
        """Leave at most so many that nobody uses."""
        with self._lock:
            idle = [key for key, kept in self._open.items() if not kept.n_users]
            gone = [self._open.pop(key).classifier for key in idle[: max(0, len(idle) - n_idle)]]
        has_weights = any(isinstance(classifier, NetworkClassifier) for classifier in gone)
        while gone:
            if isinstance(classifier := gone.pop(), LoraClassifier):
                classifier.close()
            del classifier
        if has_weights:
            release_memory()

    def _new(self, asked: Asked, examples: Sequence[Example] = ()) -> Classifier:
        return open_classifier(
            asked.model, self._host, self._settings, labels=asked.labels, zero_shot=asked.zero_shot,
            examples=examples, is_strict=asked.is_strict,
        )


def _meeting(table: LabelledTable, labels: tuple[str, ...]) -> LabelledTable:
    """The table for a classifier with these labels: numbers read as places among them, strange labels told."""
    return with_strangers_told(renamed_by_place(table, labels), labels)


def n_learned(asked: Asked, table: LabelledTable, settings: Settings) -> int:
    """Rows of the table that a trained classifier learned from or was chosen by, as far as its folder says.

    One that was trained before digests of rows were kept knows its file alone: then it is all rows of that file.
    """
    folder = trained_folder(asked.model, settings)
    if folder is None or not is_classifier(folder):
        return 0
    if learned := read_learned(folder):
        return n_among(learned, map(item_digest, table.items))
    data = read_note(folder).trained.get("data")
    first = data[0] if isinstance(data, list) and data else None  # the second one is that of its test rows
    return len(table.items) if isinstance(first, dict) and first.get("sha256") == table.digest else 0


def listed(settings: Settings, is_wanted: Callable[[Path], bool] = is_classifier) -> list[str]:
    """Names of the trained classifiers of this machine, newest first. `is_wanted`: says it of a folder."""
    shelf = settings.classifiers
    folders = [path for path in shelf.iterdir() if is_wanted(path)] if shelf.is_dir() else []
    return [path.name for path in sorted(folders, key=lambda path: -path.stat().st_mtime_ns)]
