"""A tagger is trained on the sentences that were brought; when it is there, it is chosen and its test is shown."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from llm_app.classify.entities.config import EntityConfig
from llm_app.classify.entities.sentences import sentence_of
from llm_app.classify.learned import read_learned
from llm_app.data.conll import TaggedFile
from llm_app.errors import UserError
from llm_app.jobs.folder import RunFolder
from llm_app.jobs.tagger_result import read_taggings
from llm_app.jobs.train_log import read_log
from llm_app.jobs.train_outcome import TAGGER_KIND
from llm_app.jobs.train_result import CLASSIFIER
from llm_app.services import Services
from llm_app.web import text
from llm_app.web.benchmark.results_markup import block, folded_command
from llm_app.web.classify import entities_views
from llm_app.web.classify.command import entities_commands
from llm_app.web.classify.desk import Laid, text_of
from llm_app.web.classify.entities_handlers import Parts, shown_in, taggers
from llm_app.web.classify.entities_reading import PASTED, Brought, brought_of
from llm_app.web.classify.entities_views import Shown
from llm_app.web.classify.runs import Runs
from llm_app.web.classify.training import TrainingForm
from llm_app.web.failures import SentenceError, failed
from llm_app.web.tune.data_shelf import DataShelf
from llm_app.web.views import notice
from llm_app.web.visitor import runs_of, visitor_of

MAX_ARGUMENT = 500  # characters of a text in a command
Update = dict[Any, Any]


class TaggerHandlers:
    """Starts trainings of taggers, and brings what came of one.

    `tagger`: the menu of taggers; `watched`: runs that were just started.
    """

    def __init__(
        self, services: Services, runs: Runs, parts: Parts, form: TrainingForm[EntityConfig], tagger: gr.Dropdown,
        watched: gr.State,
    ) -> None:  # fmt: skip
        self._services, self._settings, self._runs = services, services.settings, runs
        self._parts, self._form, self._tagger, self._watched = parts, form, tagger, watched

    def train(self, request: gr.Request, words: object, path: object, *form: object) -> Iterator[Update]:
        """Put a training on the sentences in line."""
        parts = self._parts
        yield {parts.notice: notice(text.both("tune_starting")), parts.train: gr.update(interactive=False)}
        try:
            if self._settings.is_public:
                raise SentenceError("classify_train_public")
            brought = brought_of(words, path, self._settings)
            if not brought.is_tagged:
                raise SentenceError("tagger_no_tags")
            asked = self._form.read(form)
            run_id = self._runs.train_tagger(self._file(request, words, path), asked, runs_of(request, self._services))
            yield {
                parts.notice: "", parts.about: entities_views.brought(brought), self._watched: (run_id,),
                parts.train: gr.update(interactive=True),
            }  # fmt: skip
        except Exception as error:
            yield {parts.notice: failed(error), parts.train: gr.update(interactive=True)}

    def use(self, request: gr.Request, selected: object) -> Update:
        """Choose the tagger of the run in sight, and show what it said of the sentences held back."""
        parts = self._parts
        try:
            if not isinstance(selected, str) or not selected:
                raise SentenceError("train_no_result")
            folder = runs_of(request, self._services).open(selected)
            name, shown = self._result(folder)
            menu = gr.update(choices=taggers(self._settings), value=name)
            told = notice(text.both("tagger_used", title=name))
            return {self._tagger: menu, **(shown_in(parts, shown) if shown else {}), parts.notice: told}
        except Exception as error:
            return {parts.notice: failed(error)}

    def command(self, words: object, path: object, tagger: object, *form: object) -> str:
        """The command lines that do the same with what is in sight; nothing for what cannot be read or trained."""
        try:
            brought, asked = brought_of(words, path, self._settings), self._form.read(form)
        except UserError:
            return ""
        name = tagger if isinstance(tagger, str) and tagger else next(iter(taggers(self._settings)), "")
        line = entities_commands(brought, _source(words, path, brought), name, asked, self._settings)
        return block(folded_command(line)) if line else ""

    def _result(self, folder: RunFolder) -> tuple[str, Shown | None]:
        """Raises: SentenceError if it has no tagger on the shelf; UserError if the run is damaged."""
        log, spec = read_log(folder), folder.spec()
        name = log.written.name if log.written else None
        if spec.get("kind") != TAGGER_KIND or name is None or name not in taggers(self._settings):
            raise SentenceError("train_no_result")
        method = spec["config"]["method"]
        scored = next((one for one in log.scored if one.method == method), None)
        if scored is None:  # it was stopped before its end
            return name, None
        rows = read_taggings(folder, scored)
        file = TaggedFile(spec["datasets"][0]["name"], tuple(sentence for sentence, _ in rows))
        brought = Brought(file.name, tuple(map(sentence_of, file.sentences)), types=file.types, is_tagged=True)
        taggings = {tagging.index: tagging for _, tagging in rows}
        learned = read_learned(folder.path / CLASSIFIER)
        return name, Shown(brought, taggings, tuple(sorted(file.types)), name, None, learned)  # as the tagger has them

    def _file(self, request: gr.Request, words: object, path: object) -> Path:
        """Where what is in sight lies: what was typed is put on the visitor's shelf first."""
        if isinstance(words, str) and words.strip():
            shelf = DataShelf.of(self._settings, visitor_of(request, self._settings))
            return shelf.keep_text(path.name if isinstance(path, Path) else PASTED, words)
        if not isinstance(path, Path):
            raise SentenceError("entities_no_text")
        return path


def _source(words: object, path: object, brought: Brought) -> str | Path:
    """What a command reads: the file as it lies there, a short text itself, else a file to be saved by its name."""
    typed = words if isinstance(words, str) and words.strip() else ""
    if isinstance(path, Path):
        is_as_it_lies = not typed or path.is_file() and typed == text_of(Laid(str(path)))
        return path if is_as_it_lies else Path(path.name)
    return typed if len(typed) <= MAX_ARGUMENT and not brought.is_tagged else Path(PASTED)
