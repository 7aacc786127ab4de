"""One text: what a classifier says of it, how sure it is, how long that took, and which words decided."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr

from llm_app.classify.explain import leave_one_out
from llm_app.classify.types import Classifier, Item, Prediction
from llm_app.errors import UserError
from llm_app.jobs.classify_open import Classifiers
from llm_app.services import Services
from llm_app.web import text
from llm_app.web.classify import one_views as views
from llm_app.web.classify.choice import Choice
from llm_app.web.classify.classifiers import ZERO_SHOT, resolved, title
from llm_app.web.failures import SentenceError, failed
from llm_app.web.html import html
from llm_app.web.views import notice

MAX_CHARACTERS = 20_000
Update = dict[Any, Any]


@dataclass(frozen=True)
class Parts:
    """The components that change."""

    text: gr.Textbox
    pair: gr.Textbox
    go: gr.Button
    notice: gr.HTML
    verdict: gr.HTML
    words: gr.HTML


def build_one() -> Parts:
    """The components, in the place where it is called."""
    words, pair = (
        gr.Textbox(
            label=text.label(name), placeholder=text.label(f"{name}_hint"), lines=n_lines, max_lines=12,
            max_length=MAX_CHARACTERS, elem_id=name.replace("_", "-"),
        )
        for name, n_lines in (("classify_text", 4), ("classify_pair", 1))
    )  # fmt: skip
    with gr.Row(elem_classes="own-buttons"):
        go = gr.Button(
            text.label("classify_go"), variant="primary", elem_id="classify-go", size="sm", scale=0, min_width=0
        )
    said = html("", elem_id="classify-one-notice", elem_classes="run-notice")
    verdict, decided = html("", elem_id="classify-verdict"), html("", elem_id="classify-words")
    return Parts(words, pair, go, said, verdict, decided)


def connect_one(services: Services, classifiers: Classifiers, parts: Parts, choice: Choice) -> None:
    """What they do."""
    handlers = OneHandlers(services, classifiers, parts, choice)
    parts.go.click(
        handlers.classify, [parts.text, parts.pair, *choice.controls], [parts.notice, parts.verdict, parts.words],
        show_progress="hidden", api_visibility="private", concurrency_id="classify-one", concurrency_limit=2,
        trigger_mode="once",
    )  # fmt: skip


class OneHandlers:
    """Classifies what was typed. A tab that is closed closes the handler, and with it the work."""

    def __init__(self, services: Services, classifiers: Classifiers, parts: Parts, choice: Choice) -> None:
        self._services, self._classifiers, self._parts, self._choice = services, classifiers, parts, choice

    def classify(self, words: object, pair: object, *form: object) -> Iterator[Update]:
        """The verdict first; the words that decided as soon as they are known."""
        parts = self._parts
        yield {parts.notice: notice(text.both("classify_working")), parts.verdict: "", parts.words: ""}
        try:
            item, asked = _item(words, pair), self._choice.read(form)
            if asked.model == ZERO_SHOT and not asked.labels:
                raise SentenceError("classify_no_labels")
            asked = resolved(asked, self._services.host)
            classifier = self._classifiers.open(asked)
            found = _said(classifier, item, asked.model)
            finding = notice(text.both("classify_words_finding"))
            yield {parts.notice: finding, parts.verdict: views.verdict(found)}
            yield {parts.notice: "", parts.words: _words(classifier, item, found)}
        except Exception as error:
            yield {parts.notice: failed(error)}


def _said(classifier: Classifier, item: Item, model: str) -> views.Said:
    """Raises: UserError saying why it could not be classified."""
    started = time.perf_counter()
    (outcome,) = classifier.predict([item])
    seconds = time.perf_counter() - started
    if not isinstance(outcome, Prediction):
        raise UserError(outcome.reason)
    return views.Said(classifier.kind, classifier.labels, outcome, seconds, title(model, classifier.identity()))


def _words(classifier: Classifier, item: Item, found: views.Said) -> str:
    explained = leave_one_out(classifier, item)
    texts = [
        (words, [span for span in explained.spans if span.is_pair == is_pair])
        for is_pair, words in ((False, item.text), (True, item.pair)) if words
    ]
    return views.deciding(texts, None if found.kind == "regression" else found.labels[explained.label])


def _item(words: object, pair: object) -> Item:
    for one in (words, pair):
        if not isinstance(one, str | None):
            raise SentenceError("wrong_value")
        if len(one or "") > MAX_CHARACTERS:
            raise SentenceError("classify_too_long", n=MAX_CHARACTERS)
    if not isinstance(words, str) or not words.strip():
        raise SentenceError("classify_no_text")
    return Item(words, pair if isinstance(pair, str) and pair.strip() else None)
