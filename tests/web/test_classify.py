"""The Classify tab through its own events, and what it may be told by a browser."""

import json
import secrets
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from llm_app.classify.config import ZeroShotConfig
from llm_app.classify.table import Columns
from llm_app.classify.types import Item, Prediction
from llm_app.classify.zero_shot import ZeroShot
from llm_app.config import Settings
from llm_app.data.table import Reading
from llm_app.web.classify.choice import build_choice
from llm_app.web.classify.desk import EXAMPLE, Laid, remembered, written
from llm_app.web.classify.one import OneHandlers, Parts, build_one
from llm_app.web.classify.results_shelf import ResultShelf
from llm_app.web.classify.tables import Tables
from llm_app.web.failures import SentenceError
from llm_app.web.tune.data_shelf import DataShelf
from tests.live import wait_for
from tests.web.site import Site, serving

WRONG: list[tuple[str, Any]] = [
    ("classify_text", {"path": "/etc/passwd"}), ("classify_text", "x" * 30_000), ("classify_text", " \n"),
    ("classify_labels", ["a"]), ("classify_labels", "only"), ("classify_labels", "a, a"), ("classify_model", 7),
    ("classify_model", "no-such-model"), ("zero_shot_normalisation", "none"), ("zero_shot_calibrates", "yes"),
    ("zero_shot_template", "no text"), ("zero_shot_n_examples", 1e9), ("classify_pair", 3),
    ("classify_explain", "magic"),
]  # fmt: skip


def outputs(site: Site, elem_id: str, event: str, session: str, **values: Any) -> dict[str, Any]:
    """What an event made of each component that has a name."""
    function = site.function(elem_id, event)
    names = {c["id"]: c["props"].get("elem_id") for c in site.config()["components"]}
    frame = site.ask(elem_id, event, session, **values)
    return {str(names[n]): value for n, value in zip(function["outputs"], frame, strict=True)}


def classified(site: Site, **values: Any) -> dict[str, Any]:
    form = {"classify_text": "hello world", "classify_labels": "good, bad"} | values
    return outputs(site, "classify-go", "click", secrets.token_hex(5), **form)


def test_one_text_shows_the_probabilities_of_the_classifier_and_the_words_that_decided(site: Site) -> None:
    (said,) = ZeroShot(site.host, ("good", "bad"), ZeroShotConfig()).predict([Item("hello world")])
    assert isinstance(said, Prediction)
    session = secrets.token_hex(5)
    site.join("classify-go", "click", session, classify_text="hello world", classify_labels="good, bad")
    frames = [message["output"]["data"] for message in site.events(session) if message["msg"].startswith("process_ge")]
    told = json.dumps(frames)
    assert all(f">{score:.3f}<" in told for score in said.scores)
    assert "Which words decided" in told and "hello" in told


def explaining(site: Site) -> tuple[OneHandlers, Parts, Callable[[str], Iterator[dict[Any, Any]]]]:
    """The handlers of one text outside of a browser, so that a test stands between two of their frames."""
    with gr.Blocks() as page:
        parts, choice = build_one(), build_choice(site.services)
    handlers = OneHandlers(page, site.services, parts, choice)
    form = ["zero-shot", "good, bad", *(control.value for control in choice.controls[2:])]
    request = gr.Request(session_hash="s")
    return handlers, parts, lambda words: handlers.classify(request, words, "", "leave-one-out", *form)


def test_stop_ends_the_search_for_the_words_that_decided_and_keeps_the_verdict(site: Site) -> None:
    handlers, parts, classify = explaining(site)
    frames = classify("hello world " * 50)
    assert "Asking" in str(next(frames)[parts.notice])
    shown = next(frames)
    assert "good" in shown[parts.verdict]
    handlers.stop(gr.Request(session_hash="s"))
    (last,) = frames
    assert parts.words not in last and parts.verdict not in last and last[parts.notice] == ""


def test_the_next_text_ends_the_search_for_the_last_one_whose_end_changes_nothing_on_the_page(site: Site) -> None:
    _, parts, classify = explaining(site)
    first = classify("hello world " * 50)
    assert parts.verdict in [*zip(range(2), first, strict=False)][-1][1]
    second = classify("hello")
    next(second)
    (last,) = first
    assert list(last) == [parts.notice] and "value" not in last[parts.notice]
    assert any("Which words decided" in str(frame.get(parts.words)) for frame in second)


def test_another_classifier_ends_what_is_said_of_the_one_before_and_another_way_the_words_alone(site: Site) -> None:
    handlers, parts, classify = explaining(site)
    frames, request = classify("hello world " * 50), gr.Request(session_hash="s")
    assert parts.verdict in [*zip(range(2), frames, strict=False)][-1][1]
    gone = handlers.forget(request)
    assert [gone[part] for part in (parts.notice, parts.verdict, parts.words)] == ["", "", ""]
    assert [list(frame) for frame in frames] == [[parts.notice]], "its end must not come back to the page"
    assert parts.verdict not in handlers.forget_words(request)


@pytest.mark.parametrize(("control", "value"), WRONG, ids=lambda v: repr(v)[:24])
def test_W6_what_no_form_of_ours_would_send_is_refused_in_a_sentence(site: Site, control: str, value: Any) -> None:
    shown = classified(site, **{control: value})
    assert 'class="notice error"' in shown["classify-one-notice"]
    raw = json.dumps(shown)
    assert not any(secret in raw for secret in ("Traceback", "site-packages", "llm_app/", "0x7f", "/etc/"))


def test_a_broken_row_is_named_with_its_line_and_mended_where_it_stands(site: Site) -> None:
    session = secrets.token_hex(5)
    pasted = "评论,标签\n很好,好\n坏,了,坏\n\n太差了,坏\n不错,好\n"
    shown = outputs(site, "table-read", "click", session, table_paste=pasted)
    assert "Line 3" in shown["table-bad"] and "第 3 行" in shown["table-bad"]
    assert "3 rows can be classified" in shown["table-about"]
    assert "3 rows · 1 problem" in shown["table-brought"] and "3 行 · 1 处问题" in shown["table-brought"]
    mended = pasted.replace("坏,了,坏", "坏了,坏")
    shown = outputs(site, "table-read", "click", session, table_paste=mended)
    assert shown["table-bad"] == "" and "4 rows can be classified" in shown["table-about"]


def test_a_table_lies_there_again_after_a_reload_and_nothing_where_nothing_did(site: Site) -> None:
    shown = outputs(site, "table-read", "click", secrets.token_hex(5), table_paste="text,label\nso so,ok\nfine,good\n")
    again = outputs(site, "table-kept", "load", secrets.token_hex(5), event_data={"value": shown["table-kept"]})
    assert again["table-about"] == shown["table-about"] and "2 rows can be classified" in again["table-about"]
    empty = outputs(site, "table-kept", "load", secrets.token_hex(5), event_data={"value": ""})
    assert "rows can be classified" not in str(empty["table-about"]) and "error" not in str(empty["table-notice"])


def test_a_table_is_classified_and_stands_beside_its_baselines(site: Site) -> None:
    session = secrets.token_hex(5)
    outputs(site, "table-example", "click", session)
    plan = outputs(site, "classify-model", "change", session)
    assert "60" in plan["classify-plan"] and "measured on 8 rows" in plan["classify-plan"]
    before = set(site.services.runs().ids())
    outputs(site, "classify-start", "click", session)
    (run_id,) = set(site.services.runs().ids()) - before
    store = site.services.runs()
    assert wait_for(lambda: store.read(run_id).status not in ("running", "queued"), 60) < 60
    results = ResultShelf(Tables()).results(store, store.open(run_id))
    assert results is not None and results.shown.n_done == 60
    assert results.shown.labels == ("complaint", "praise", "question")
    assert [(one.key, len(one.scored)) for one in results.others] == [("baseline:majority", 60), ("baseline:tfidf", 60)]
    assert results.why_no_bars is None


def test_labels_that_no_row_has_are_told_before_the_start_and_none_mean_those_of_the_table(site: Site) -> None:
    session = secrets.token_hex(5)
    outputs(site, "table-read", "click", session, table_paste="text,label\nso so,bad\nfine,good\n")
    plan = outputs(site, "classify-model", "change", session, classify_labels="yes, no")["classify-plan"]
    assert "In 2 rows the true label (good, bad)" in plan.replace("bad, good", "good, bad") and "notice warning" in plan
    plan = outputs(site, "classify-model", "change", session)["classify-plan"]
    assert "2 labels, those of the table" in plan and "notice warning" not in plan


def test_training_needs_true_labels_and_says_so(site: Site) -> None:
    session = secrets.token_hex(5)
    shown = outputs(site, "classify-train", "click", session)
    assert "notice error" in shown["classify-train-notice"]
    outputs(site, "table-read", "click", session, table_paste="text\na\nb\n")
    shown = outputs(site, "classify-train", "click", session)
    assert "true label" in shown["classify-train-notice"]


def test_the_commands_that_do_the_same_stand_in_a_fold(site: Site) -> None:
    session = secrets.token_hex(5)
    outputs(site, "table-example", "click", session)
    plan = outputs(site, "classify-model", "change", session, classify_labels="good, bad")
    assert "Show the command" in plan["classify-plan"] and "classify --model tiny" in plan["classify-plan"]
    about = outputs(site, "classifier-method", "input", session, classifier_method="tfidf")["classify-train-about"]
    assert "classify train --input" in about and "--method tfidf" in about
    form = {"classifier_method": "tfidf", "classifier_search_space": "method=tfidf"}
    search = outputs(site, "classifier-search-space", "blur", session, **form)["classifier-search-command"]
    assert "classify search --input" in search and "--space method=tfidf" in search
    topics = outputs(site, "topics-method", "input", session, topics_method="hdbscan")["topics-command"]
    assert "classify topics --input" in topics and "--method hdbscan" in topics
    entities = outputs(site, "entities-text", "blur", session, entities_text="Oslo\tB-LOC\n")["entities-command"]
    assert "classify entities train --input pasted.txt" in entities


def test_what_a_browser_remembers_of_a_table_names_no_file_of_anybody_else(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, is_public=True)
    mine, theirs = (DataShelf.of(settings, secret * 43) for secret in "ab")
    path = mine.keep_text("mine.csv", "text,label\na,b\n")
    laid = Laid(str(path), Reading(separator=","), Columns("text", truth="label"), drops=True)
    word = written(laid)
    assert str(tmp_path) not in word and remembered(word, mine) == laid
    beside = replace(laid, scored_on=str(mine.keep_text("test.csv", "text,label\nc,d\n")))
    assert remembered(written(beside), mine) == beside
    with pytest.raises(SentenceError):
        remembered(written(replace(laid, scored_on="/etc/passwd")), mine)
    assert remembered(written(Laid(str(EXAMPLE))), mine).path == str(EXAMPLE)
    for wrong in (word, written(Laid("/etc/passwd")), written(Laid(str(mine.root / "x" / ".." / "a.csv")))):
        with pytest.raises(SentenceError):
            remembered(wrong, theirs)
    for wrong in ("", "§", "e30=", 3, None, "W10="):
        with pytest.raises(SentenceError):
            remembered(wrong, mine)


def test_a_public_page_measures_nothing_and_trains_what_is_small(tiny_llama: Path, tmp_path: Path) -> None:
    with serving(tmp_path, tiny_llama, is_public=True) as site:
        session = secrets.token_hex(5)
        site.client.get("/")  # for its cookie
        outputs(site, "table-example", "click", session)
        assert "not measured on a public page" in outputs(site, "classify-model", "change", session)["classify-plan"]
        shown = outputs(site, "classify-train", "click", session, classifier_method="encoder")
        assert "trains small classifiers only" in shown["classify-train-notice"]
        assert outputs(site, "classify-train", "click", session)["classify-train-notice"] == ""
        (job,) = site.services.queue.jobs()
        (run,) = tmp_path.glob(f"visitors/*/{job.run_id}")
        spec = json.loads((run / "spec.json").read_text(encoding="utf-8"))
        assert (spec["config"]["method"], spec["name"]) == ("lstm", None)
        site.services.queue.cancel(job.run_id)
