"""Data and training on the page under faults: rows W1, W4, W6, W9, T11, T13, U17, U20 and U23 of the fault table."""

import hashlib
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from gradio.utils import get_upload_folder

from tests.live import wait_for
from tests.web.bench import press
from tests.web.site import Site, serving

LONG = {"tune_max_steps": "100000", "tune_rank": 2, "tune_accumulation": 1, "tune_device": "cpu"}


@pytest.fixture(scope="module")
def site(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with serving(tmp_path_factory.mktemp("home"), tiny_llama) as site:
        yield site
        site.services.shutdown(0.0)


def start(site: Site, session: str, **options: Any) -> list[Any]:
    """Choose the example data and start; the frame that comes back."""
    state = site.function("tune-start", "click")["inputs"][0]
    if not site.page.state_holder[session][state]:
        site.ask("tune-example", "click", session)
    return site.ask("tune-start", "click", session, **options)


def said(site: Site, frame: list[Any]) -> str:
    return str(site.shown(frame, "tune-notice", ("tune-start", "click")))


def card(site: Site, session: str) -> str:
    """What a page that was just opened shows."""
    config = site.config()
    number = next(c["id"] for c in config["components"] if c["props"].get("elem_id") == "tune-card")
    timers = {c["id"] for c in config["components"] if c["type"] == "timer"}
    function = next(
        d for d in config["dependencies"] if number in d["outputs"] and any(t[0] in timers for t in d["targets"])
    )  # fmt: skip
    body = {"data": [None] * len(function["inputs"]), "fn_index": function["id"], "session_hash": session}
    answer = site.client.post("/gradio_api/run/predict", json=body)
    return str(answer.json()["data"][function["outputs"].index(number)])


@pytest.mark.parametrize("wrong", [
    {"tune_rank": 0}, {"tune_rank": "8"}, {"tune_alpha": 0}, {"tune_alpha": {}}, {"tune_learning_rate": "nan"},
    {"tune_learning_rate": "-1"}, {"tune_learning_rate": 3}, {"tune_epochs": 0}, {"tune_epochs": 1e9},
    {"tune_method": "rm -rf"}, {"tune_packs": "yes"}, {"tune_packs": 1}, {"tune_max_steps": "1_000"},
    {"tune_targets": ["q_proj"]}, {"tune_model": {"path": "/etc/passwd"}}, {"tune_model": ""},
    {"tune_model": "x" * 600}, {"tune_name": 5}, {"tune_name": "../../evil"}, {"tune_seed": None},
    {"tune_validation": True},
])  # fmt: skip
def test_W6_T10_no_run_is_made_of_settings_that_cannot_be(site: Site, wrong: dict[str, Any]) -> None:
    frame = start(site, "wrong", **(LONG | wrong))
    assert "request" in said(site, frame) and "Traceback" not in said(site, frame)
    assert site.services.runs().ids() == []


def test_a_start_without_data_says_what_is_missing(site: Site) -> None:
    assert "example data" in said(site, site.ask("tune-start", "click", "empty"))


def test_W1_T11_a_run_goes_on_without_its_page_a_second_one_waits_and_both_can_be_stopped(site: Site) -> None:
    start(site, "first", **LONG)
    start(site, "second", **(LONG | {"tune_rank": 4}))
    start(site, "second", **(LONG | {"tune_rank": 4}))  # a double press
    second, first = site.services.runs().ids()
    wait_for(lambda: site.services.runs().read(first).n_done > 0, 120)
    assert 'class="run live"' in card(site, "reopened") and "step" in card(site, "reopened again")
    assert site.services.queue.status(second).state == "queued"
    for run_id in (second, first):
        state = site.function("tune-discard-yes", "click")["inputs"][0]
        site.page.state_holder["stops"][state] = run_id
        press(site, "tune-discard-yes", "stops", None)
        press(site, "tune-discard-yes", "stops", None)  # W4: twice
        assert site.services.queue.wait(run_id, 60)
    assert {site.services.runs().read(run_id).status for run_id in (first, second)} == {"cancelled"}


def test_T13_W9_a_public_page_says_before_the_start_that_nothing_is_kept_and_takes_no_paths(
    tmp_path: Path,
) -> None:
    with serving(tmp_path / "home", None, is_public=True) as site:
        words = str(site.config())
        assert "keeps nothing" in words and "download your adapter" in words
        frame = site.ask("tune-take", "click", "visitor", tune_path="/etc/passwd")
        assert "request" in str(site.shown(frame, "tune-data-notice", ("tune-take", "click")))


def unfinished_upload(site: Site) -> socket.socket:
    """A connection on which half of a file was sent."""
    head = (
        "POST /gradio_api/upload HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 200000\r\n"
        "Content-Type: multipart/form-data; boundary=x\r\n\r\n"
        '--x\r\nContent-Disposition: form-data; name="files"; filename="half.csv"\r\n\r\n'
    )
    connection = socket.create_connection(("127.0.0.1", httpx.URL(site.url).port or 0))
    connection.sendall(head.encode() + b"a" * 100_000)
    return connection


def test_U17_uploads_that_break_off_in_the_middle_leave_nothing_behind(site: Site) -> None:
    folder = Path(get_upload_folder())

    def n_files() -> int:
        return sum(path.is_file() for path in folder.rglob("*"))

    before = n_files()
    with unfinished_upload(site):
        wait_for(lambda: n_files() == before + 1, 10)
        for _ in range(200):
            unfinished_upload(site).close()
    wait_for(lambda: n_files() == before, 10)


def test_U20_a_cell_that_names_a_file_is_text(site: Site) -> None:
    secret = site.services.settings.home / "secret.txt"
    secret.write_text("TOP-SECRET-MARK", encoding="utf-8")
    file = json.dumps({"path": str(secret), "meta": {"_type": "gradio.FileData"}}).replace('"', '""')
    frame = site.ask("table-read", "click", "u20", table_paste=f'text,label\n"{file}",x\nfine,y\n')
    shown = site.shown(frame, "table-preview", ("table-read", "click"))
    assert "gradio.FileData" in shown and "TOP-SECRET-MARK" not in json.dumps(frame)
    assert "gradio_api/file=" not in json.dumps(frame)


def test_U23_an_upload_has_an_address_that_its_content_does_not_tell_and_none_once_it_was_read(site: Site) -> None:
    table = b"text,label\nnobody else's business,x\nfine,y\n"
    (path,) = site.client.post("/gradio_api/upload", files={"files": ("mine.csv", table)}).json()
    place = Path(path).parent
    with httpx.Client(base_url=site.url) as stranger:
        plain = place.parent / hashlib.sha256(table).hexdigest() / "mine.csv"  # gradio salts it
        guesses = [place, place.parent, plain, path[:-1], place.parent / "*" / "mine.csv", place.parent / "mine.csv"]
        for guess in guesses:
            assert stranger.get(f"/gradio_api/file={guess}").status_code == 403, guess
        file = {"path": path, "orig_name": "mine.csv", "meta": {"_type": "gradio.FileData"}}
        frame = site.ask("table-file", "upload", "u23", table_file=file)
        assert "2 rows" in site.shown(frame, "table-about", ("table-file", "upload"))
        assert stranger.get(f"/gradio_api/file={path}").status_code == 403
