"""Row S14: what a visitor of a public demo may keep."""

import json
import threading
import time
from pathlib import Path

import pytest

from llm_app.jobs.quota import Quota, QuotaReached, TooManyBytes, TooManyRuns
from llm_app.jobs.store import RunStore
from tests.faults.test_storage_rows import SPEC, finished


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "runs")


def visitor(store: RunStore, name: str, **quota: int) -> RunStore:
    return RunStore(store.root.parent / "visitors" / name, owner=name, quota=Quota(**quota))


def test_S14_one_run_too_many_is_refused_with_the_numbers_and_the_oldest_runs(store: RunStore) -> None:
    mine, theirs = visitor(store, "me", n_runs=4), visitor(store, "them", n_runs=4)
    kept = finished(theirs)
    made = []
    for _ in range(4):
        made.append(finished(mine).id)
        time.sleep(0.002)  # names are by the millisecond
    with pytest.raises(TooManyRuns, match="You have 4 runs here, and 4 is the limit") as refused:
        mine.create(SPEC)
    assert (refused.value.status, refused.value.code) == (429, "rate_limited")
    assert refused.value.oldest == tuple(made[:3])
    mine.delete(refused.value.oldest[0])
    mine.create(SPEC)
    assert len(kept.events()) == 4 and theirs.ids() == [kept.id]


def test_S14_too_many_bytes_are_refused_with_the_numbers(store: RunStore) -> None:
    mine = visitor(store, "me", n_bytes=1 << 20)
    big = finished(mine)
    big.write("results.json", json.dumps("x" * (3 << 19)))
    with pytest.raises(TooManyBytes, match=r"Your runs take 1\.5 MB, and 1\.0 MB is the limit") as refused:
        mine.create(SPEC)
    assert (refused.value.status, refused.value.code) == (507, "insufficient_storage")
    mine.delete(big.id)
    assert mine.create(SPEC).spec()["owner"] == "me"


def test_S14_two_runs_made_at_once_do_not_both_take_the_last_place(store: RunStore) -> None:
    mine = visitor(store, "me", n_runs=3)
    outcomes: list[str] = []

    def make() -> None:
        try:
            mine.create(SPEC)
            outcomes.append("made")
        except QuotaReached:
            outcomes.append("refused")

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["made"] * 3 + ["refused"] * 5 and len(mine.ids()) == 3
