"""The Classify tab through its own events, and what it may be told by a browser."""

import json
import secrets
from pathlib import Path
from typing import Any

import pytest

from llm_app.classify.config import ZeroShotConfig
from llm_app.classify.table import Columns
from llm_app.classify.types import Item, Prediction
from llm_app.classify.zero_shot import ZeroShot
from llm_app.config import Settings
from llm_app.data.table import Reading
from llm_app.web.classify.desk import EXAMPLE, Laid, remembered, written
from llm_app.web.classify.results_shelf import ResultShelf
from llm_app.web.failures import SentenceError
from llm_app.web.tune.data_shelf import DataShelf
from tests.live import wait_for
from tests.web.site import Site, serving

WRONG: list[tuple[str, Any]] = [
    ("classify_text", {"path": "/etc/passwd"}), ("classify_text", "x" * 30_000), ("classify_text", " \n"),
    ("classify_labels", ["a"]), ("classify_labels", "only"), ("classify_labels", "a, a"), ("classify_model", 7),
    ("classify_model", "no-such-model"), ("zero_shot_normalisation", "none"), ("zero_shot_calibrates", "yes"),
    ("zero_shot_template", "no text"), ("zero_shot_n_examples", 1e9), ("classify_pair", 3),
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
    mended = pasted.replace("坏,了,坏", "坏了,坏")
    shown = outputs(site, "table-read", "click", session, table_paste=mended)
    assert shown["table-bad"] == "" and "4 rows can be classified" in shown["table-about"]
    again = outputs(site, "table-kept", "load", secrets.token_hex(5))
    assert "notice error" not in str(again["table-notice"])


def test_a_table_is_classified_and_stands_beside_its_baselines(site: Site) -> None:
    session = secrets.token_hex(5)
    outputs(site, "table-example", "click", session)
    plan = outputs(site, "classify-model", "input", session)
    assert "60" in plan["classify-plan"] and "measured on 8 rows" in plan["classify-plan"]
    before = set(site.services.runs().ids())
    outputs(site, "classify-start", "click", session)
    (run_id,) = set(site.services.runs().ids()) - before
    store = site.services.runs()
    assert wait_for(lambda: store.read(run_id).status not in ("running", "queued"), 60) < 60
    results = ResultShelf().results(store, store.open(run_id))
    assert results is not None and results.shown.n_done == 60
    assert results.shown.labels == ("complaint", "praise", "question")
    assert [(one.name, len(one.scored)) for one in results.others] == [("majority", 60), ("tf-idf", 60)]


def test_training_needs_true_labels_and_says_so(site: Site) -> None:
    session = secrets.token_hex(5)
    shown = outputs(site, "classify-train", "click", session)
    assert "notice error" in shown["classify-train-notice"]
    outputs(site, "table-read", "click", session, table_paste="text\na\nb\n")
    shown = outputs(site, "classify-train", "click", session)
    assert "true label" in shown["classify-train-notice"]


def test_what_a_browser_remembers_of_a_table_names_no_file_of_anybody_else(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, is_public=True)
    mine, theirs = (DataShelf.of(settings, secret * 43) for secret in "ab")
    path = mine.keep_text("mine.csv", "text,label\na,b\n")
    laid = Laid(str(path), Reading(separator=","), Columns("text", truth="label"), drops=True)
    word = written(laid)
    assert str(tmp_path) not in word and remembered(word, mine) == laid
    assert remembered(written(Laid(str(EXAMPLE))), mine).path == str(EXAMPLE)
    for wrong in (word, written(Laid("/etc/passwd")), written(Laid(str(mine.root / "x" / ".." / "a.csv")))):
        with pytest.raises(SentenceError):
            remembered(wrong, theirs)
    for wrong in ("", "§", "e30=", 3, None, "W10="):
        with pytest.raises(SentenceError):
            remembered(wrong, mine)


def test_a_public_page_trains_nothing(tiny_llama: Path, tmp_path: Path) -> None:
    with serving(tmp_path, tiny_llama, is_public=True) as site:
        session = secrets.token_hex(5)
        site.client.get("/")  # for its cookie
        outputs(site, "table-example", "click", session)
        shown = outputs(site, "classify-train", "click", session)
        assert "machine of your own" in shown["classify-train-notice"]
