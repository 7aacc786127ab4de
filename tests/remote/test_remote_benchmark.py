"""Benchmarks on servers that are busy, gone, or cannot do what a task needs."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from eval.tasks.harness import TaskOptions
from eval.types import Generation, Unscored
from llm_app.config import ModelConfig, Settings
from llm_app.engine.host import Host
from llm_app.errors import Cancelled, RemoteFailed, UserError
from llm_app.jobs.benchmark import start
from llm_app.jobs.ending import Paused
from llm_app.jobs.remote_answers import AT_ONCE, TRIES, RemoteAnswers
from tests.remote.bad_server import Answer, Bad, answering, endless, said
from tests.remote.test_faults import SECRET, asking

ASKED = [(f"question {n}", Generation(("\n",), 4)) for n in range(3)]
OKAY = said(200, {"choices": [{"text": " yes\nand more"}], "usage": {"prompt_tokens": 2, "completion_tokens": 2}})
BUSY = said(429, {"error": {"message": "slow down"}})


@contextmanager
def model_of(bad: Bad, settings: Settings) -> Iterator[RemoteAnswers]:
    """What asks that server, with short pauses between its tries."""
    with asking(bad, settings) as host:
        assert host.remote is not None
        yield RemoteAnswers(host, host.remote, first_pause_seconds=0.001)


def test_a_busy_server_is_asked_again(settings: Settings) -> None:
    with answering(BUSY, said(500, {}), said(200, b"<html>"), OKAY) as bad, model_of(bad, settings) as model:
        assert list(model.generate(ASKED, [0])) == [(0, " yes")]
        assert len(bad.bodies()) == 4


def test_a_server_that_stays_busy_leaves_the_sample_for_later(settings: Settings) -> None:
    with answering(BUSY) as bad, model_of(bad, settings) as model:
        ((_, answer),) = model.generate(ASKED, [0])
        assert isinstance(answer, Unscored) and answer.is_passing and "slow down" in answer.reason
        assert len(bad.bodies()) == TRIES


def test_one_prompt_that_the_server_refuses_does_not_end_the_others(settings: Settings) -> None:
    too_long = said(400, {"error": {"message": "the prompt is too long"}})
    with answering(OKAY, too_long, OKAY) as bad, model_of(bad, settings) as model:
        answers = dict(model.generate(ASKED, [0, 1, 2]))
    refused = [answer for answer in answers.values() if isinstance(answer, Unscored)]
    assert len(refused) == 1 and "too long" in refused[0].reason and not refused[0].is_passing


@pytest.mark.parametrize("answer", [said(401, {}), said(404, {}), said(302, b"")])
def test_what_no_other_prompt_would_fare_better_with_ends_the_run(answer: Answer, settings: Settings) -> None:
    with answering(answer) as bad, model_of(bad, settings) as model, pytest.raises(RemoteFailed):
        list(model.generate(ASKED, [0]))


def test_a_server_that_goes_away_pauses_the_run(settings: Settings) -> None:
    with answering(OKAY) as bad:
        host = Host(settings)
        list(host.load(ModelConfig(bad.url)))
    assert host.remote is not None
    model = RemoteAnswers(host, host.remote, first_pause_seconds=0.001)
    with pytest.raises(Paused, match="cannot be reached.*Resume the run"):
        list(model.generate(ASKED, [0]))
    host.shutdown(0.0)


def test_a_run_is_stopped_while_the_server_keeps_it_waiting(settings: Settings) -> None:
    left = threading.Event()
    with answering(endless(left)) as bad, model_of(bad, settings) as model:
        answers = model.generate(ASKED, [0, 1, 2])
        threading.Timer(0.1, model.stop, [Cancelled("Stopped.")]).start()
        with pytest.raises(Cancelled):
            next(answers)
        assert left.wait(5), "the connection stayed open"


def test_no_more_requests_than_planned_are_under_way_at_once(settings: Settings) -> None:
    now, most, lock = 0, 0, threading.Lock()

    def slow(handler: object) -> None:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.02)
        with lock:
            now -= 1
        OKAY(handler)  # type: ignore[arg-type]

    asked = [(f"question {n}", Generation((), 4)) for n in range(3 * AT_ONCE)]
    with answering(slow) as bad, model_of(bad, settings) as model:
        assert [index for index, _ in model.generate(asked, range(len(asked)))] == list(range(len(asked)))
    assert 1 < most <= AT_ONCE


SAY = """
name: say
kind: exact_match
data: rows.jsonl
columns: {question: q, target: a}
prompt: "{{question}}"
max_new_tokens: 4
"""


def choice_task(folder: Path) -> str:
    (folder / "rows.jsonl").write_text(json.dumps({"question": "what", "answer": "A", "choices": ["it", "that"]}))
    (folder / "pick.yaml").write_text("name: pick\nkind: multiple_choice\ndata: rows.jsonl\n")
    return str(folder / "pick.yaml")


@pytest.mark.parametrize("answer", [
    OKAY,  # it does not know echo, as `transformers serve`
    said(400, {"error": {"message": "echo is not supported"}}), said(404, {}),
])  # fmt: skip
def test_likelihoods_that_the_server_cannot_give_are_refused_before_anything_runs(
    answer: Answer, settings: Settings, tmp_path: Path
) -> None:
    with answering(answer) as bad, asking(bad, settings) as host:
        with pytest.raises(UserError, match="pick: .*gives no log-probabilities of a prompt"):
            start(host, [choice_task(tmp_path)], TaskOptions(), settings)
        assert len(bad.bodies()) == 1 and not (settings.home / "runs").exists()


def test_no_file_of_a_run_holds_the_key(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROOFBENCH_REMOTE_KEY", SECRET)
    (tmp_path / "rows.jsonl").write_text(json.dumps({"question": "what", "answer": "yes"}))
    task = tmp_path / "say.yaml"
    task.write_text("name: say\nkind: exact_match\ndata: rows.jsonl\nmax_new_tokens: 4\n")
    with answering(OKAY) as bad, asking(bad, settings) as host:
        benchmark = start(host, [str(task)], TaskOptions(), settings)
        list(benchmark.run())
        assert bad.asked[-1][1]["Authorization"] == f"Bearer {SECRET}"
    written = [path.read_bytes() for path in settings.home.rglob("*") if path.is_file()]
    assert written and not any(SECRET.encode() in data for data in written)
