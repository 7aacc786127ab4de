"""What happens in the part for named entities. What was uploaded stays on the server, on the visitor's own shelf."""

import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import gradio as gr

import llm_app.data
from llm_app.classify.entities.folder import is_tagger
from llm_app.classify.entities.open import open_tagger
from llm_app.classify.entities.sentences import conll_text
from llm_app.classify.entities.types import Tagger, Tagging
from llm_app.config import Settings
from llm_app.data.read import KINDS
from llm_app.jobs.classify_open import listed
from llm_app.services import Services
from llm_app.web import text
from llm_app.web.classify import entities_scores, entities_views
from llm_app.web.classify.desk import Laid, text_of
from llm_app.web.classify.entities_reading import Brought, brought_of, limits_of, read_path
from llm_app.web.classify.entities_views import Shown
from llm_app.web.classify.halting import Halt, Task
from llm_app.web.failures import SentenceError, tried
from llm_app.web.html import download
from llm_app.web.runs.views import short
from llm_app.web.tune.data_shelf import DataShelf
from llm_app.web.views import notice
from llm_app.web.visitor import visitor_of

EXAMPLE = Path(llm_app.data.__file__).parent / "examples" / "entities.txt"
MAX_SENTENCES, MAX_SENTENCES_PUBLIC = 20_000, 1_000
MAX_NAME = 500
TOLD_EVERY_SECONDS = 0.3
FILE_NAME = "entities.conll"
Update = dict[Any, Any]


@dataclass(frozen=True)
class Parts:
    """The components that change. `path`: the file that lies here; `shown`: what was found last, for the file.

    `command`: what does the same.
    """

    text: gr.Textbox
    file: gr.File
    find: gr.Button
    train: gr.Button
    stop: gr.Button
    save: gr.Button
    notice: gr.HTML
    about: gr.HTML
    found: gr.HTML
    path: gr.State
    shown: gr.State
    command: gr.HTML

    def all(self) -> list[Any]:
        """Every one of them."""
        return [getattr(self, field.name) for field in fields(self)]


class EntityHandlers:
    """The handlers. Whoever asks gets to files of their own only."""

    def __init__(self, services: Services, parts: Parts) -> None:
        self._services, self._settings, self._parts = services, services.settings, parts
        self._task = Task(parts.find, parts.stop, parts.notice)

    def example(self) -> Update:
        """Put the example where texts are typed."""
        return self._try(lambda: self._laid(EXAMPLE))

    def upload(self, request: gr.Request, file: object) -> Update:
        """Keep what was uploaded; what is not too long is put where texts are typed, to be mended there."""

        def take() -> Update:
            if not isinstance(file, str) or not Path(file).is_file():
                raise SentenceError("own_no_file")  # gradio has made sure that it is this visitor's
            upload = Path(file)
            if upload.suffix.lower() not in KINDS:  # .conll, .bio, .iob2: text
                upload = upload.rename(upload.with_name(f"{upload.name}.txt"))
            try:
                (kept,) = DataShelf.of(self._settings, visitor_of(request, self._settings)).keep([upload])
            finally:
                upload.unlink(missing_ok=True)  # gradio would keep its copy for an hour
            return self._laid(kept)

        return {self._parts.file: None, **self._try(take)}

    def find(self, request: gr.Request, words: object, path: object, name: object) -> Iterator[Update]:
        """Mark the entities of all sentences. Stopped, it shows those that it came to."""

        def work(halt: Halt) -> Generator[Update, None, Update]:
            brought = brought_of(words, path, self._settings)
            most = MAX_SENTENCES_PUBLIC if self._settings.is_public else MAX_SENTENCES
            if len(brought.sentences) > most:
                raise SentenceError("entities_too_many", n=len(brought.sentences), most=most)
            return (yield from self._marked(brought, *self._opened(name), halt))

        yield from self._task.run(request, "entities_working", work)

    def stop(self, request: gr.Request) -> None:
        """End what this page has under way."""
        self._task.stop(request)

    def save(self, shown: Shown | None) -> str:
        """What was found, in CoNLL format."""
        return "" if shown is None else download(FILE_NAME, conll_text(shown.brought.sentences, shown.taggings))

    def _laid(self, path: Path) -> Update:
        """A table stays a file: as text in the field its rows would be no table."""
        parts, brought = self._parts, read_path(path, limits_of(self._settings))
        is_text = brought.is_tagged or KINDS[path.suffix.lower()] == "txt"
        words = (text_of(Laid(str(path))) or "") if is_text else ""
        return {parts.path: path, parts.text: words, parts.about: entities_views.brought(brought)}

    def _marked(
        self, brought: Brought, tagger: Tagger, title: str, halt: Halt
    ) -> Generator[Update, None, Update]:
        """How far it is, and at last what there is to show."""
        parts, n = self._parts, len(brought.sentences)
        taggings, started, told_at = dict[int, Tagging](), time.perf_counter(), time.monotonic()
        for tagging in halt.until(tagger.tag([sentence.tokens for sentence in brought.sentences])):
            taggings[tagging.index] = tagging
            if time.monotonic() - told_at > TOLD_EVERY_SECONDS:
                told_at = time.monotonic()
                yield {parts.notice: notice(text.both("entities_progress", done=len(taggings), n=n))}
        seconds = time.perf_counter() - started
        shown = Shown(brought, taggings, tuple(tagger.types), title, seconds, tagger.learned)
        return {parts.notice: "", **shown_in(parts, shown)}

    def _opened(self, name: object) -> tuple[Tagger, str]:
        """The tagger of this name and what it is called; where none is chosen, the newest.

        Raises: UserError for one that is not there, or on a public page not among those offered.
        """
        if not isinstance(name, str | None) or len(name or "") > MAX_NAME:
            raise SentenceError("wrong_value")
        offered = taggers(self._settings)
        asked = (name or "").strip() or next(iter(offered), "")
        if not asked:
            raise SentenceError(no_tagger(self._settings))
        if self._settings.is_public and asked not in offered:
            raise SentenceError("wrong_value")
        return open_tagger(asked, self._settings, self._services.host.turn), short(asked)

    def _try(self, act: Callable[[], Update]) -> Update:
        return tried(self._parts.notice, act)


def shown_in(parts: Parts, shown: Shown) -> Update:
    """Scores where truths are known, then the sentences."""
    return {
        parts.about: entities_views.brought(shown.brought), parts.shown: shown, parts.save: gr.update(elem_classes=[]),
        parts.found: entities_scores.scores(shown) + entities_views.found(shown),
    }  # fmt: skip


def taggers(settings: Settings) -> list[str]:
    """Names of the trained taggers of this machine, newest first."""
    return listed(settings, is_tagger)


def no_tagger(settings: Settings) -> str:
    """Name of the words for where there is none: a public page has no button that trains one."""
    return "entities_no_tagger_public" if settings.is_public else "entities_no_tagger"
