"""One text: what a classifier says of it, how sure it is, how long that took, and which words decided."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr

from llm_app.classify.config import EXPLANATIONS, LEAVE_ONE_OUT
from llm_app.classify.explain import Explanation, explaining, n_texts
from llm_app.classify.types import Classifier, Item, Prediction
from llm_app.errors import Cancelled, UserError
from llm_app.jobs.classify_public import ONE_TEXT, check_work
from llm_app.services import Services
from llm_app.web import text
from llm_app.web.chat.presence import ReaderWatch, Running
from llm_app.web.classify import one_views as views
from llm_app.web.classify.choice import Choice
from llm_app.web.classify.classifiers import ZERO_SHOT, named, resolved
from llm_app.web.classify.halting import Halt
from llm_app.web.failures import SentenceError, failed
from llm_app.web.html import html, shown
from llm_app.web.views import notice

MAX_CHARACTERS = 20_000
AT_ONCE: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
TELL_SECONDS = 0.5  # between two words on how far it is
Update = dict[Any, Any]


@dataclass(frozen=True)
class Parts:
    """The components that change; `how` is only read: in which way it is found which words decided."""

    how: gr.Radio
    text: gr.Textbox
    pair: gr.Textbox
    go: gr.Button
    stop: gr.Button
    notice: gr.HTML
    verdict: gr.HTML
    words: gr.HTML


def build_one() -> Parts:
    """The components, in the place where it is called."""
    words, pair = (
        gr.Textbox(
            label=text.label(name), placeholder=text.label(f"hint_{name}"), lines=n_lines, max_lines=12,
            max_length=MAX_CHARACTERS, elem_id=name.replace("_", "-"),
        )
        for name, n_lines in (("classify_text", 4), ("classify_pair", 1))
    )  # fmt: skip
    with gr.Row(elem_classes="own-buttons"):
        go = gr.Button(
            text.label("classify_go"), variant="primary", elem_id="classify-go", size="sm", scale=0, min_width=0
        )
        stop = gr.Button(
            text.label("stop"), variant="stop", elem_id="classify-one-stop", size="sm", scale=0, min_width=0,
            visible="hidden",
        )  # fmt: skip
    with gr.Row(elem_classes=["own-buttons", "ways"]):
        html(f"<p>{text.both('classify_words_by')}</p>", elem_classes="ways-name")
        how = gr.Radio(
            [(text.label(f"classify_by_{name.replace('-', '_')}"), name) for name in EXPLANATIONS],
            value=LEAVE_ONE_OUT, label=text.label("classify_words"), show_label=False, container=False, min_width=0,
            elem_id="classify-explain", elem_classes="segments",
        )  # fmt: skip
    said = html("", elem_id="classify-one-notice", elem_classes="run-notice")
    verdict, decided = html("", elem_id="classify-verdict"), html("", elem_id="classify-words")
    return Parts(how, words, pair, go, stop, said, verdict, decided)


def connect_one(page: gr.Blocks, services: Services, parts: Parts, choice: Choice) -> None:
    """What they do."""
    handlers = OneHandlers(page, services, parts, choice)
    outputs = [parts.notice, parts.verdict, parts.words, parts.stop]
    # A text that comes while another is explained ends that one, so it must not wait for it.
    parts.go.click(
        handlers.classify, [parts.text, parts.pair, parts.how, *choice.controls], outputs,
        show_progress="hidden", api_visibility="private", concurrency_id="classify-one", concurrency_limit=4,
        trigger_mode="multiple",
    )  # fmt: skip
    parts.stop.click(handlers.stop, None, None, **AT_ONCE)
    # What was said of another classifier, or found in another way, does not stay beside what is chosen now.
    choice.model.change(handlers.forget, None, outputs, **AT_ONCE)
    parts.how.input(handlers.forget_words, None, outputs, **AT_ONCE)


class OneHandlers:
    """Classifies what was typed. Whoever closes the page, presses Stop or asks of another text ends the work."""

    def __init__(self, page: gr.Blocks, services: Services, parts: Parts, choice: Choice) -> None:
        self._page, self._services, self._parts, self._choice = page, services, parts, choice
        self._running = Running()

    def classify(
        self, request: gr.Request, words: object, pair: object, how: object, *form: object
    ) -> Iterator[Update]:
        """The verdict first; the words that decided as soon as they are known."""
        parts, session, halt = self._parts, request.session_hash or "", Halt()
        self._running.start(session, halt)
        try:
            yield {parts.notice: notice(text.both("classify_working")), parts.verdict: "", parts.words: ""}
            if how not in EXPLANATIONS:
                raise SentenceError("wrong_value")
            item, asked = _item(words, pair), self._choice.read(form)
            if asked.model == ZERO_SHOT and not asked.labels:
                raise SentenceError("classify_no_labels")
            asked = resolved(asked, self._services.host)
            with self._services.classifiers.lent(asked) as classifier:
                check_work(classifier, 1, self._services.settings, most=ONE_TEXT)
                found = _said(classifier, item, asked.model)
                if not self._running.is_shown(session, halt):
                    raise Cancelled("Something else is asked by now.")
                finding = notice(text.both("classify_words_finding"))
                yield {parts.notice: finding, parts.verdict: views.verdict(found), parts.stop: shown(True)}
                if how == LEAVE_ONE_OUT:
                    check_work(classifier, n_texts(item), self._services.settings, most=ONE_TEXT)
                steps = halt.until(explaining(classifier, item, str(how)))
                for told in self._told(steps, halt, ReaderWatch(self._page, session)):
                    yield {parts.notice: told} if isinstance(told, str) else {
                        parts.notice: "", parts.words: _words(item, found, told, str(how)), parts.stop: shown(False),
                    }  # fmt: skip
        except Cancelled:
            is_shown = self._running.is_shown(session, halt)  # else the next text has the page already
            yield {parts.notice: "", parts.stop: shown(False)} if is_shown else {parts.notice: gr.skip()}
        except Exception as error:
            yield {parts.notice: failed(error), parts.stop: shown(False)}
        finally:
            self._running.end(session, halt)

    def forget(self, request: gr.Request) -> Update:
        """End what is under way, and show nothing of it."""
        parts = self._parts
        self._running.drop(request.session_hash or "")
        return {parts.notice: "", parts.verdict: "", parts.words: "", parts.stop: shown(False)}

    def forget_words(self, request: gr.Request) -> Update:
        """The same of the words that decided; the verdict stays."""
        self.stop(request)
        return {self._parts.notice: "", self._parts.words: ""}

    def stop(self, request: gr.Request) -> None:
        """End the search for the words that decided; the verdict stays."""
        self._running.stop(request.session_hash or "")

    def _told(
        self, steps: Iterator[tuple[int, int] | Explanation], halt: Halt, reader: ReaderWatch
    ) -> Iterator[str | Explanation]:
        """How far it is, now and then, and at last what was found. Raises: Cancelled if it was stopped before."""
        told_at = time.monotonic()
        for step in steps:
            if isinstance(step, Explanation):
                yield step
                return
            if time.monotonic() - told_at > TELL_SECONDS:
                told_at = time.monotonic()
                if reader.is_gone():
                    halt.close()
                yield notice(text.both("classify_words_progress", done=step[0], total=step[1]))
        raise Cancelled("It was stopped.")


def _said(classifier: Classifier, item: Item, model: str) -> views.Said:
    """Raises: UserError saying why it could not be classified."""
    started = time.perf_counter()
    (outcome,) = classifier.predict([item])
    seconds = time.perf_counter() - started
    if not isinstance(outcome, Prediction):
        raise UserError(outcome.reason, param="text", message_zh=outcome.reason_zh)
    return views.Said(classifier.kind, classifier.labels, outcome, seconds, named(model, classifier.identity()).text)


def _words(item: Item, found: views.Said, explained: Explanation, how: str) -> str:
    texts = [
        (words, [span for span in explained.spans if span.is_pair == is_pair])
        for is_pair, words in ((False, item.text), (True, item.pair)) if words
    ]
    return views.deciding(texts, None if found.kind == "regression" else found.labels[explained.label], how)


def _item(words: object, pair: object) -> Item:
    for one in (words, pair):
        if not isinstance(one, str | None):
            raise SentenceError("wrong_value")
        if len(one or "") > MAX_CHARACTERS:
            raise SentenceError("classify_too_long", n=MAX_CHARACTERS)
    if not isinstance(words, str) or not words.strip():
        raise SentenceError("classify_no_text")
    return Item(words, pair if isinstance(pair, str) and pair.strip() else None)
