"""Which classifier is asked, with which labels and examples; trained ones stay open for the next who asks."""

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llm_app.classify.config import ZeroShotConfig
from llm_app.classify.folder import is_classifier
from llm_app.classify.lora_head import LoraClassifier
from llm_app.classify.open import open_classifier, trained_folder
from llm_app.classify.prompt import Example, choose_examples
from llm_app.classify.table import LabelledTable, renamed_by_place
from llm_app.classify.types import Classifier
from llm_app.config import Settings
from llm_app.engine.host import Host
from llm_app.errors import UserError

MAX_OPEN = 2  # trained classifiers that stay in memory


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

    `shown`: places of the examples that it is shown; `loaded`: of a chat model, how it was loaded.
    """

    classifier: Classifier
    table: LabelledTable
    shown: tuple[int, ...] = ()
    loaded: Mapping[str, Any] = field(default_factory=dict)


class Classifiers:
    """Opens what was asked for. A trained classifier that was used a moment ago is not read again."""

    def __init__(self, host: Host, settings: Settings) -> None:
        self._host, self._settings = host, settings
        self._lock = threading.Lock()
        self._open: OrderedDict[tuple[Path, int, bool], Classifier] = OrderedDict()

    def open(self, asked: Asked, examples: Sequence[Example] = ()) -> Classifier:
        """The classifier. Raises: as `open_classifier`."""
        folder = trained_folder(asked.model, self._settings)
        if folder is None or asked.labels:
            return self._new(asked, examples)
        key = (folder, folder.stat().st_mtime_ns, asked.is_strict)
        with self._lock:
            found = self._open.pop(key, None)
        if isinstance(found, LoraClassifier) and found.is_stale:
            found = None
        found = found or self._new(asked)  # outside of the lock: reading takes seconds
        with self._lock:
            self._open[key] = found
            while len(self._open) > MAX_OPEN:
                self._open.popitem(last=False)
        return found

    def open_for(self, asked: Asked, table: LabelledTable) -> Opened:
        """The classifier for a table. A chat model that got no labels chooses among those of the truth column.

        Raises: as `open_classifier`; UserError if examples are wanted and the table has no truths to take them from.
        """
        if trained_folder(asked.model, self._settings) is not None:
            classifier = self.open(asked)
            return Opened(classifier, renamed_by_place(table, classifier.labels))
        labels = asked.labels or table.labels
        table = renamed_by_place(table, labels)
        if asked.zero_shot.n_examples and table.columns.truth is None:
            raise UserError("Examples come from the table: choose the column that holds their labels.", param="truth")
        truths = [truth if isinstance(truth, str) else None for truth in table.truths]
        shown = choose_examples(truths, labels, asked.zero_shot)
        examples = [(table.items[place], truth) for place in shown if (truth := truths[place]) is not None]
        asked = Asked(asked.model, labels, asked.zero_shot, asked.is_strict)
        classifier, model = self._new(asked, examples), self._host.loaded
        return Opened(classifier, table, tuple(shown), {
            "adapter_name": self._host.adapter, "precision": model.precision, "device": model.device.type,
            "context": model.n_context,
        })  # fmt: skip

    def _new(self, asked: Asked, examples: Sequence[Example] = ()) -> Classifier:
        return open_classifier(
            asked.model, self._host, self._settings, labels=asked.labels, zero_shot=asked.zero_shot,
            examples=examples, is_strict=asked.is_strict,
        )


def listed(settings: Settings) -> list[str]:
    """Names of the trained classifiers of this machine, newest first."""
    shelf = settings.classifiers
    folders = [path for path in shelf.iterdir() if is_classifier(path)] if shelf.is_dir() else []
    return [path.name for path in sorted(folders, key=lambda path: -path.stat().st_mtime_ns)]
