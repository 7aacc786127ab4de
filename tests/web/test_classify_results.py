"""Runs over one table side by side: what each is called and chosen by, its baselines, and when they are computed."""

import json
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import gradio as gr
import pytest

from llm_app.classify.folder import ClassifierFile
from llm_app.classify.learned import write_learned
from llm_app.classify.table import Columns, item_digest
from llm_app.classify.tfidf import Tfidf
from llm_app.classify.training.baselines import fit_tfidf
from llm_app.classify.training.targets import Problem
from llm_app.classify.types import Classifier
from llm_app.config import ServeConfig, Settings
from llm_app.data.table import Reading
from llm_app.engine.host import Host
from llm_app.jobs.classify import Classification, Source, begin, start
from llm_app.jobs.classify_open import Asked, Classifiers, Opened
from llm_app.jobs.folder import RunFolder
from llm_app.jobs.store import RunStore
from llm_app.services import Services
from llm_app.web.classify.live import ClassifyTally
from llm_app.web.classify.results_handlers import ResultHandlers
from llm_app.web.classify.results_parts import Parts
from llm_app.web.classify.results_shelf import Results, ResultShelf
from llm_app.web.classify.tables import Tables
from tests.classify.word_rule import LABELS, WordRule

N_ROWS = 12
Ran = Callable[..., RunFolder]


@pytest.fixture
def source(tmp_path: Path) -> Source:
    return written(tmp_path, N_ROWS)


@pytest.fixture
def ran(source: Source, settings: Settings) -> Ran:
    """A finished run over the table, by a rule that is another one for each `smoothing`."""

    def run(
        smoothing: float = 1.0, name: str = "rule", source: Source = source, rule: Classifier | None = None
    ) -> RunFolder:
        opened = Opened(rule or WordRule(smoothing=smoothing), source.read())
        return finished(begin(opened, Asked(name), source, RunStore.of(settings))).folder

    return run


def written(folder: Path, n: int) -> Source:
    path = folder / f"reviews-{n}.csv"
    rows = (f"{('good', 'bad')[number % 2]} {number},{LABELS[1 - number % 2]}" for number in range(n))
    path.write_text("\n".join(["text,label", *rows]), encoding="utf-8")
    return Source(path, Columns("text", truth="label"), Reading(separator=","))


def finished(run: Classification) -> Classification:
    for _ in run.run():
        pass
    return run


def results(folder: RunFolder, settings: Settings) -> Results:
    found = ResultShelf(Tables()).results(RunStore.of(settings), folder)
    assert found is not None
    return found


@pytest.fixture
def handlers(settings: Settings) -> tuple[ResultHandlers, Parts]:
    parts = Parts(*(gr.State() for _ in fields(Parts)))  # type: ignore[arg-type]  # they are only looked up
    return ResultHandlers(Services(settings, ServeConfig(), Host(settings)), ResultShelf(Tables()), parts), parts


REQUEST = gr.Request(session_hash="s")


def test_who_was_chosen_in_the_menu_is_compared_with_whatever_else_was_run_or_deleted_meanwhile(
    ran: Ran, settings: Settings, handlers: tuple[ResultHandlers, Parts]
) -> None:
    act, parts = handlers
    shown, other, doomed = ran(1.0, "shown"), ran(2.0, "other"), ran(3.0, "doomed")
    menu = act.figures(REQUEST, shown.id)[parts.other]["choices"]
    chosen = {label.split()[0]: key for label, key in menu}
    ran(4.0, "newer")
    RunStore.of(settings).delete(doomed.id)
    assert "other" in act.compare(REQUEST, shown.id, chosen["other"])[parts.versus]
    gone = act.compare(REQUEST, shown.id, chosen["doomed"])
    assert parts.versus not in gone and "no longer among those" in gone[parts.notice]
    again = ran(2.0, "other")  # the same classifier, run anew
    assert again.id != other.id and "other" in act.compare(REQUEST, shown.id, chosen["other"])[parts.versus]


@pytest.mark.parametrize("nothing", (None, "", []))
def test_a_menu_that_is_left_with_nothing_chosen_asks_for_a_choice_and_alarms_nobody(
    ran: Ran, handlers: tuple[ResultHandlers, Parts], nothing: object
) -> None:
    act, parts = handlers
    shown, _ = ran(1.0, "shown"), ran(2.0, "other")
    asked = act.figures(REQUEST, shown.id)[parts.versus]
    assert "Choose a classifier above" in asked and "请在上方选择一个分类器" in asked
    assert act.compare(REQUEST, shown.id, nothing) == {parts.versus: asked, parts.notice: ""}


def test_of_a_run_that_is_over_rows_are_drawn_at_once_and_figures_once_in_an_event_of_their_own(
    ran: Ran, handlers: tuple[ResultHandlers, Parts]
) -> None:
    act, parts = handlers
    run = ran()
    drawn = act.look(REQUEST, run.id, "all", None, 0, ())
    assert "good 0" in drawn[parts.rows] and drawn[parts.due]
    assert parts.scores not in drawn and parts.other not in drawn
    assert drawn[parts.due] == act.show(REQUEST, run.id)[parts.due] != act.show(REQUEST, ran(2.0).id)[parts.due]
    assert list(act.look(REQUEST, run.id, "all", None, 0, drawn[parts.seen])) == [parts.timer]
    figures = act.figures(REQUEST, run.id)
    assert "majority label" in figures[parts.scores] and parts.due not in figures


def test_two_classifiers_of_one_name_are_told_apart_by_their_time(ran: Ran, settings: Settings) -> None:
    shown = ran(1.0, "mine")
    ran(2.0, "mine")
    found = results(shown, settings)
    assert found.shown.name.text[0] == "mine"
    assert found.others[0].name.text[0].startswith("mine · 20")


def test_the_adapter_of_a_chat_model_is_part_of_its_name(source: Source, settings: Settings) -> None:
    opened = Opened(WordRule(), source.read(), loaded={"adapter_name": "adapters/tone"})
    run = finished(begin(opened, Asked("org/m"), source, RunStore.of(settings)))
    assert results(run.folder, settings).shown.name.own == "m + tone"


def test_a_model_that_a_person_trained_does_not_stand_for_the_baselines(
    ran: Ran, source: Source, settings: Settings
) -> None:
    table, problem = source.read(), Problem("single", LABELS)
    truths = [truth for truth in table.truths if truth is not None]
    (learned,) = fit_tfidf(problem, (table.items, truths), ((), ()))
    run = ran(name="mine", rule=Tfidf(ClassifierFile("tfidf", "single", LABELS), learned.model))
    found = results(run, settings)
    assert not found.shown.is_baseline
    assert [one.key for one in found.others] == ["baseline:majority", "baseline:tfidf"]


@pytest.mark.parametrize(("n_rows", "why"), [(9, "they need 10 scored rows"), (10, None)])
def test_where_rows_are_too_few_for_baselines_the_scores_say_so(
    ran: Ran, settings: Settings, tmp_path: Path, n_rows: int, why: str | None
) -> None:
    found = results(ran(source=written(tmp_path, n_rows)), settings)
    assert (found.why_no_bars is None) == (why is None) == bool(found.others)
    assert why is None or (found.why_no_bars is not None and why in found.why_no_bars[0])


@pytest.mark.parametrize("knows", ["rows", "file", "nothing of it"])
def test_U10_a_run_over_rows_that_a_classifier_learned_from_counts_them(
    source: Source, settings: Settings, knows: str
) -> None:
    folder, table = settings.classifiers / "usual", source.read()
    folder.mkdir(parents=True)
    digest = table.digest if knows == "file" else "of another file"
    trained = {"data": [{"name": "a", "sha256": digest}, {"name": "its test rows", "sha256": table.digest}]}
    note = {"format": 1, "method": "majority", "kind": "single", "labels": LABELS, "shares": (0.4, 0.6)}
    (folder / "classifier.json").write_text(json.dumps(note | {"trained": trained}), encoding="utf-8")
    if knows == "rows":
        write_learned(folder, map(item_digest, table.items[:5]))
    run = finished(start(Asked("usual"), source, Classifiers(Host(settings), settings), settings))
    n_learned = {"rows": 5, "file": N_ROWS, "nothing of it": 0}[knows]
    assert run.folder.spec()["classifier"]["learned"] == n_learned
    assert results(run.folder, settings).shown.n_learned == n_learned


def test_how_many_are_right_of_a_part_of_the_rows_is_said_to_be_of_the_longest_texts(ran: Ran) -> None:
    run = ran()
    tally, (*rows, last, end) = ClassifyTally(run, Tables()), run.events()
    told: list[str] = []
    for events in (rows, [last, end]):
        for event in events:
            tally.add(event)
        told.append(tally.body())
    assert "of the longest texts first" in told[0] and "最长的文本" in told[0]
    assert "longest" not in told[1] and "Accuracy ↑ 1.000" in told[1]
