"""Named entities and topics as the page handles them: what comes out, and what it may be told by a browser."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import astuple
from html import unescape
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from llm_app.classify.entities.config import EntityConfig
from llm_app.classify.entities.learned import write_learned
from llm_app.classify.entities.open import open_tagger
from llm_app.classify.entities.words import find_entities
from llm_app.config import ServeConfig, Settings
from llm_app.data.mix import DatasetSpec
from llm_app.engine.host import Host
from llm_app.engine.turn import Turn
from llm_app.jobs.tagger import TaggerData, start_tagger
from llm_app.jobs.train import Training
from llm_app.jobs.train_in_place import InPlace
from llm_app.services import Services
from llm_app.web.classify.desk import EXAMPLE as EXAMPLE_TABLE
from llm_app.web.classify.desk import Desk, Laid
from llm_app.web.classify.entities import build_entities, build_entity_options
from llm_app.web.classify.entities_handlers import EXAMPLE, MAX_SENTENCES_PUBLIC, EntityHandlers, Parts
from llm_app.web.classify.entities_training import TaggerHandlers
from llm_app.web.classify.runs import Runs
from llm_app.web.classify.tables import Tables
from llm_app.web.classify.topics import MAX_TEXTS, TopicsHandlers, build_topics, build_topics_form
from tests.web.taggers import put_tagger
from tests.web.test_classify_entities_views import marks

TEXT = "Clara Winther flew to Oslo .\nNobody did .\n何佳在青岛工作。"
TOPICS = ["kmeans", "3", "pca", 8, 3, 10, 0]  # options as a form sends them
REQUEST = gr.Request(session_hash="one")


def services_of(home: Path, *, is_public: bool = False) -> Services:
    settings = Settings(home=home, is_public=is_public)
    put_tagger(settings)
    return Services(settings, ServeConfig(), Host(settings, ServeConfig()))


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Services:
    return services_of(tmp_path_factory.mktemp("home"))


def entities(services: Services) -> tuple[EntityHandlers, Parts]:
    with gr.Blocks():
        parts, _ = build_entities(services)
    return EntityHandlers(services, parts), parts


def last(updates: Iterator[Any]) -> dict[str, Any]:
    """What the last frame holds, by elem_id."""
    *_, frame = updates
    return {str(component.elem_id): value for component, value in frame.items()}


def found(services: Services, words: object, path: object = None, tagger: object = "mine") -> dict[str, Any]:
    return last(entities(services)[0].find(REQUEST, words, path, tagger))


def test_a_text_is_marked_with_what_the_command_line_finds(services: Services) -> None:
    (wanted,) = find_entities(open_tagger("mine", services.settings, Turn()), [TEXT])
    shown = found(services, TEXT)
    assert marks(shown["entities-found"]) == [(TEXT[span.start : span.end], span.type) for span in wanted.spans]
    assert len(wanted.spans) > 2


def test_U10_scores_on_the_very_sentences_that_a_tagger_learned_from_carry_a_word_on_that(tmp_path: Path) -> None:
    services = services_of(tmp_path)
    train = "Anna\tB-PER\nsang\tO\n\nOslo\tB-LOC\nis\tO\n"
    write_learned(services.settings.classifiers / "mine", [("Anna", "sang")])
    shown = found(services, train)["entities-found"]
    assert "1 of these 2 sentences are among those" in shown and "这 2 个句子中有 1 个" in shown
    assert "learned from" not in found(services, "Ida\tB-PER\nsang\tO\n")["entities-found"]


def test_a_public_page_without_a_tagger_does_not_name_a_button_that_it_lacks(tmp_path: Path) -> None:
    services = services_of(tmp_path, is_public=True)
    _, parts = entities(services)
    assert parts.notice.value == ""
    shutil.rmtree(services.settings.classifiers)
    _, parts = entities(services)
    for shown in (parts.notice.value, found(services, TEXT, tagger="")["entities-notice"]):
        assert "Train a tagger" not in shown and "machine of your own" in shown and "公开页面" in shown


def test_a_faulty_line_is_named_in_both_languages_and_the_rest_is_marked(services: Services) -> None:
    about = found(services, "Oslo\tB-LOC\n\nAnna\tPERSON\n\nParis\tB-LOC\n")["entities-about"]
    assert "Line 3" in about and "第 3 行" in about and "2 sentences with tags" in about


@pytest.mark.parametrize(("words", "tagger"), [
    (7, "mine"), ({"path": "/etc/passwd"}, "mine"), ("x" * 500_000, "mine"), (" \n", "mine"), (TEXT, ["mine"]),
    (TEXT, "no-such-tagger"), (TEXT, "../../etc"), (TEXT, "x" * 600),
])  # fmt: skip
def test_W6_what_no_form_of_ours_would_send_is_refused_in_a_sentence(
    services: Services, words: object, tagger: object
) -> None:
    shown = found(services, words, None, tagger)
    assert 'class="notice error"' in shown["entities-notice"]
    raw = json.dumps(shown, default=str)
    assert not any(secret in raw for secret in ("Traceback", "site-packages", "llm_app/", "0x7f"))


def test_where_no_tagger_is_chosen_the_newest_finds_and_where_there_is_none_that_is_said(tmp_path: Path) -> None:
    services = services_of(tmp_path)
    assert len(marks(found(services, TEXT, tagger=None)["entities-found"])) > 2
    shutil.rmtree(services.settings.classifiers)
    assert "Train a tagger" in found(services, TEXT, tagger="")["entities-notice"]


def test_more_sentences_than_are_marked_here_are_refused(tmp_path: Path) -> None:
    shown = found(services_of(tmp_path, is_public=True), "a\n" * (MAX_SENTENCES_PUBLIC + 1))
    assert f"at most {MAX_SENTENCES_PUBLIC:,}" in shown["entities-notice"]


def test_stopped_it_shows_the_sentences_that_it_came_to(services: Services) -> None:
    handlers, parts = entities(services)
    updates = handlers.find(REQUEST, TEXT, None, "mine")
    assert "Opening" in next(updates)[parts.notice]
    handlers.stop(REQUEST)
    assert "stopped: 0 of 3 sentences" in last(updates)["entities-found"]


def test_an_uploaded_table_stays_a_file_and_its_texts_are_marked(services: Services, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text('id,text\n1,"Ida Lund lives in Oslo"\n', encoding="utf-8")
    handlers, parts = entities(services)
    laid = handlers.upload(REQUEST, str(path))
    assert laid[parts.text] == "" and not path.exists()
    assert len(marks(found(services, "", laid[parts.path])["entities-found"])) == 2


def test_an_uploaded_conll_file_of_any_name_is_put_into_the_field(services: Services, tmp_path: Path) -> None:
    path = tmp_path / "train.bio"
    path.write_bytes("何佳\tB-PER\n在\tO\n宁波\tB-LOC\n工作\tO\n了\tO\n很\tO\n多\tO\n年\tO\n".encode("gb18030"))
    handlers, parts = entities(services)
    laid = handlers.upload(REQUEST, str(path))
    assert laid[parts.text].startswith("何佳\tB-PER") and "1 sentences with tags" in laid[parts.about]
    assert str(laid[parts.path]).endswith("/train.bio.txt"), "its own name stays in sight"


def test_training_needs_tags_and_says_so(services: Services) -> None:
    handlers, _, _ = training(services)
    shown = last(handlers.train(REQUEST, TEXT, None))
    assert "CoNLL" in shown["entities-notice"] and services.runs().ids() == []


def training(services: Services) -> tuple[TaggerHandlers, Parts, gr.Dropdown]:
    with gr.Blocks():
        parts, _ = build_entities(services)
        options = build_entity_options(services)
        watched = gr.State(())
    runs = Runs(services, Desk(services.settings, Tables()))
    return TaggerHandlers(services, runs, parts, options.training, options.tagger, watched), parts, options.tagger


def test_the_command_that_does_the_same_follows_what_is_in_sight(services: Services) -> None:
    handlers, _, _ = training(services)
    form = [None, None, *astuple(EntityConfig(method="features"))]
    found = handlers.command("Anna lives in Oslo", None, "mine", *form)
    assert "find --model mine 'Anna lives in Oslo'" in unescape(found)
    tagged = handlers.command("", EXAMPLE, None, *form)
    assert f"score --model mine --input {EXAMPLE}" in tagged and f"train --input {EXAMPLE} --method features" in tagged
    assert "--input names.txt" in handlers.command("Oslo\tB-LOC\n", Path("/x/names.txt"), "mine", *form)
    assert handlers.command("", None, "mine", *form) == ""


def test_a_trained_tagger_is_chosen_and_its_test_sentences_are_shown(tmp_path: Path) -> None:
    services = services_of(tmp_path)
    data = TaggerData(DatasetSpec(str(EXAMPLE), name="names.txt"))
    folder = start_tagger(data, EntityConfig(method="features"), services.settings).folder
    for _ in Training(folder, services.settings, start=InPlace).run():
        pass
    handlers, parts, menu = training(services)
    shown = handlers.use(REQUEST, folder.id)
    name = shown[menu]["value"]
    assert name == "names-features-tagger-1" and shown[menu]["choices"] == [name, "mine"]
    assert "Span scores" in shown[parts.found] and "names.txt: 9 sentences" in shown[parts.about]


def test_a_public_page_opens_no_tagger_by_its_path_trains_none_and_has_no_other_encoder(tmp_path: Path) -> None:
    services = services_of(tmp_path, is_public=True)
    path = str(services.settings.classifiers / "mine")
    assert 'class="notice error"' in found(services, TEXT, None, path)["entities-notice"]
    handlers, parts, _ = training(services)
    assert "machine of your own" in last(handlers.train(REQUEST, "Oslo\tB-LOC\n", None))["entities-notice"]
    assert "its own encoder" in topics(services, path)["topics-notice"]


def topics_handlers(services: Services) -> TopicsHandlers:
    with gr.Blocks():
        parts, _ = build_topics()
        form = build_topics_form()
    return TopicsHandlers(services, Desk(services.settings, Tables()), parts, form)


def topics(services: Services, encoder: str) -> dict[str, Any]:
    return last(topics_handlers(services).example(REQUEST, encoder, *TOPICS))


def test_topics_are_stopped_while_they_are_grouped(services: Services) -> None:
    handlers = topics_handlers(services)
    said = list[str]()
    for frame in handlers.example(REQUEST, "", "kmeans", None, "pca", 8, 3, 10, 0):
        said += [str(value) for component, value in frame.items() if component.elem_id == "topics-notice"]
        if "Grouping" in said[-1]:
            handlers.stop(REQUEST)
    assert "Grouping" in said[-2] and "Stopped." in said[-1]


def test_more_texts_than_are_grouped_here_are_refused_at_once(services: Services, tmp_path: Path) -> None:
    path = tmp_path / "many.txt"
    path.write_text("a\n" * (MAX_TEXTS + 1), encoding="utf-8")
    shown = last(topics_handlers(services).find(REQUEST, Laid(str(path)), "", *TOPICS))
    assert "20,001 texts; at most 20,000" in shown["topics-notice"] and "20,001 条" in shown["topics-notice"]


def test_topics_show_the_command_that_finds_them_once_there_is_a_table(services: Services) -> None:
    handlers, laid = topics_handlers(services), Laid(str(EXAMPLE_TABLE))
    shown = handlers.command(laid, "", *TOPICS)
    assert "Show the command" in shown and "classify topics" in shown and "--n-topics 3" in shown
    assert handlers.command(None, "", *TOPICS) == "" == handlers.command(laid, "", "hdbscan", *TOPICS[1:])


def test_topics_without_a_table_say_where_to_bring_one(services: Services) -> None:
    shown = last(topics_handlers(services).find(REQUEST, None, "", *TOPICS))
    assert "A table" in shown["topics-notice"] and "“表格”" in shown["topics-notice"]
