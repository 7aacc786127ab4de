"""The loaded chat model as one entry of a menu, and what classifiers are called, in both languages."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from eval.report.markup import Markup
from llm_app.classify.config import ZeroShotConfig
from llm_app.engine.host import Host
from llm_app.jobs.classify_open import Asked
from llm_app.options import Text
from llm_app.web import text
from llm_app.web.benchmark.results_markup import told
from llm_app.web.runs.views import short
from llm_app.web.text import STRINGS, filled

ZERO_SHOT = "zero-shot"  # whichever chat model is loaded; also the method by which it classifies


@dataclass(frozen=True)
class Name:
    """What a classifier is called: its own name, the sentence that names its method, what else sets it apart."""

    own: str = ""
    method: str | None = None
    settings: tuple[Text, ...] = ()

    @property
    def text(self) -> Text:
        """In both languages."""
        method = (STRINGS[self.method],) if self.method else ()
        english, chinese = zip(*((self.own, self.own), *method, *self.settings), strict=True)
        return _joined(english), _joined(chinese)

    @property
    def label(self) -> str:
        """For a menu. Of a label the browser translates one part, so that settings stand in both languages."""
        method = (str(text.label(self.method)),) if self.method else ()
        return _joined((self.own, *method, *("/".join(dict.fromkeys(one)) for one in self.settings)))

    def and_also(self, setting: Text) -> "Name":
        """With one thing more that sets it apart."""
        return replace(self, settings=(*self.settings, setting))

    def in_sentence(self, sentence: str, **values: object) -> Markup:
        """One of the page's sentences, with this name as its `title`."""
        english, chinese = self.text
        return told((filled(sentence, title=english, **values)[0], filled(sentence, title=chinese, **values)[1]))


def resolved(asked: Asked, host: Host) -> Asked:
    """With the name of the chat model that is loaded now. Raises: UserError if none is."""
    return replace(asked, model=host.loaded.entry.name) if asked.model == ZERO_SHOT else asked


def named(model: str, identity: Any) -> Name:
    """What a classifier is called: the model with how it was asked, or the name of a trained one."""
    if identity.get("method") != ZERO_SHOT:
        return Name(short(model))
    return Name(short(model), "method_zero_shot", tuple(_settings(identity)))


def _settings(identity: Any) -> Iterator[Text]:
    """How the prompt differs from the usual one, in short."""
    usual = ZeroShotConfig()
    if identity["n_examples"]:
        yield filled("zero_shot_examples", n=identity["n_examples"])
    if identity["calibrates"]:
        yield STRINGS["zero_shot_calibrated"]
    if identity["normalisation"] != usual.normalisation:
        yield STRINGS["zero_shot_length"]
    if identity["template"] != usual.template:
        yield STRINGS["zero_shot_template"]
    if list(identity["words"]) != list(identity["labels"]):
        yield STRINGS["zero_shot_words"]


def _joined(parts: tuple[str, ...]) -> str:
    return " · ".join(part for part in parts if part)
