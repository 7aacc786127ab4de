"""What a run looks like, and how its log is followed."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llm_app.jobs.folder import EVENTS, RunFolder
from llm_app.jobs.store import Run
from llm_app.web.runs import follow, views
from llm_app.web.runs.follow import Follower, Followers

RUN = Run(
    "mwrhwwyde6dk", "running", "benchmark", "SmolLM2", None, "nf4", ("sst2", "/srv/tasks/mine.yaml"),
    "2026-11-22T10:14:00.000000", 61, 120,
)  # fmt: skip


def test_a_running_card_says_how_far_how_fast_and_how_long() -> None:
    card = views.card(RUN, 2.0, "")
    assert "61 of 120 samples" in card and "2.0 samples/s" in card and "0:30 left" in card
    assert "剩余 0:30" in card and 'aria-valuenow="61"' in card


def test_before_the_speed_is_known_no_time_is_promised() -> None:
    card = views.card(RUN, None, "")
    assert "measuring the speed" in card and "left" not in card


def test_a_run_whose_process_starts_says_that_it_prepares() -> None:
    card = views.card(replace(RUN, n_done=0, n_total=0), None, "")
    assert "preparing" in card and "准备中" in card and "0 of 0" not in card


def test_a_stopped_run_says_so_and_that_it_can_be_resumed() -> None:
    card = views.card(replace(RUN, status="cancelled", reason="The run was stopped."), None, "")
    assert "stopped" in card and "Resume" in card


def test_a_failed_run_says_why_and_what_to_do_and_its_reason_is_no_markup() -> None:
    card = views.card(replace(RUN, status="failed", reason="<b>{{boom}}</b>"), None, "")
    assert "&lt;b&gt;&#123;&#123;boom" in card and "resume" in card and 'role="alert"' in card


def test_a_waiting_run_shows_its_place() -> None:
    assert "waiting, place 3" in views.card(replace(RUN, status="queued", position=3), None, "")


def test_a_line_of_the_list_tells_no_path_and_escapes_the_note() -> None:
    line = views.line(replace(RUN, note="<i>mine</i>"))
    assert "/srv" not in line and "mine" in line and "&lt;i&gt;mine" in line


@pytest.mark.parametrize(("seconds", "shown"), [(0, "0:00"), (21.4, "0:21"), (725, "12:05"), (3760, "1:02:40")])
def test_a_duration_reads_like_a_clock(seconds: float, shown: str) -> None:
    assert views.duration(seconds) == (shown, shown)


class Counting:
    """A tally that counts."""

    def __init__(self, folder: RunFolder) -> None:
        self.n = 0

    def add(self, event: dict[str, Any]) -> None:
        self.n += 1

    def body(self) -> str:
        return str(self.n)

    def details(self) -> str:
        return ""


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder.create(tmp_path, {"kind": "benchmark"})


def append(folder: RunFolder, text: str) -> None:
    with (folder.path / EVENTS).open("a", encoding="utf-8") as file:
        file.write(text)


def event(n: int) -> str:
    return json.dumps({"type": "result", "done": n}) + "\n"


def test_a_look_takes_in_only_what_is_new_and_no_torn_line(folder: RunFolder) -> None:
    follower = Follower(folder, Counting)
    append(folder, event(1) + event(2)[:10])
    assert follower.look(is_running=True).body == "1"
    append(folder, event(2)[10:])
    assert follower.look(is_running=True).body == "2"
    assert follower.look(is_running=True).body == "2"


def test_a_log_that_was_cut_is_read_anew(folder: RunFolder) -> None:
    follower = Follower(folder, Counting)
    append(folder, event(1) + event(2) + event(3))
    assert follower.look(is_running=False).body == "3"
    (folder.path / EVENTS).write_text(event(1), encoding="utf-8")
    assert follower.look(is_running=False).body == "1"


def test_the_speed_is_samples_over_the_time_between_looks(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(follow.time, "monotonic", lambda: now[0])
    follower = Follower(folder, Counting)
    append(folder, event(10))
    assert follower.look(is_running=True).per_second is None
    append(folder, event(30))
    now[0] = 105.0
    assert follower.look(is_running=True).per_second == pytest.approx(4.0)


def test_only_the_runs_that_were_looked_at_last_are_remembered(tmp_path: Path) -> None:
    followers = Followers(Counting)
    folders = [RunFolder.create(tmp_path, {"kind": "benchmark"}) for _ in range(follow.MAX_FOLLOWED + 1)]
    first = followers.of(folders[0])
    for other in folders[1:]:
        followers.of(other)
    assert followers.of(folders[0]) is not first


def test_every_status_of_a_run_has_a_word() -> None:
    for status in ("running", "queued", "done", "cancelled", "interrupted", "paused", "failed", "damaged"):
        assert re.search("[a-z]", views.status_html(replace(RUN, status=status), status))  # type: ignore[arg-type]
