"""Evaluation under faults: full disks, bad rows, chats at the same time; more of rows E and S beside the code."""

import errno
import math
import os
from collections.abc import Iterator
from pathlib import Path

import datasets
import pytest

from eval.tasks.harness import TaskOptions
from llm_app.config import ModelConfig, SamplingConfig, Settings
from llm_app.engine.host import Host
from llm_app.errors import UserError
from llm_app.jobs.answers import EngineModel
from llm_app.jobs.benchmark import Benchmark, resume, start
from llm_app.jobs.files import write_files
from tests import tiny
from tests.running import ids_of

ROWS = [{"sentence1": f"The dog saw {n} cats.", "sentence2": "There was a dog.", "label": n % 2} for n in range(24)]


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    folder = tiny.make_model(tmp_path_factory.mktemp("models") / "tiny")
    host = Host(Settings(home=tmp_path_factory.mktemp("home")))
    for _ in host.load(ModelConfig(str(folder), precision="fp32")):
        pass
    yield host
    host.unload()


def hub(root: Path, rows: list[dict[str, object]]) -> Settings:
    """WNLI with these rows, laid out like the hub."""
    folder = root / "data" / "nyu-mll" / "glue"
    for split in ("train", "validation"):
        (folder / "wnli").mkdir(parents=True, exist_ok=True)
        found = rows if split == "validation" else ROWS
        datasets.Dataset.from_list([dict(row, idx=n) for n, row in enumerate(found)]).to_parquet(
            folder / "wnli" / f"{split}.parquet"
        )
    (folder / "README.md").write_text(
        "---\nconfigs:\n- config_name: wnli\n  data_files:\n"
        + "".join(f"  - split: {split}\n    path: wnli/{split}.parquet\n" for split in ("train", "validation"))
        + "---\n"
    )
    return Settings(home=root / "home", data=root / "data")


def begin(host: Host, settings: Settings) -> Benchmark:
    return start(host, ["wnli"], TaskOptions(), settings)


def test_E4_a_full_disk_pauses_the_run_and_resume_gives_the_same_files(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = hub(tmp_path, ROWS)
    benchmark = begin(host, settings)
    real, written = os.write, []

    def fills(file: int, data: bytes) -> int:
        written.append(len(data))
        if len(written) > 7:
            real(file, data[:5])
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(file, data)

    with monkeypatch.context() as patched, pytest.raises(UserError, match="No space left.*paused.*resume"):
        patched.setattr(os, "write", fills)
        list(benchmark.run())
    again = resume(host, benchmark.folder, settings)
    assert again.n_done == 7
    list(again.run())
    _, path = write_files(again, tmp_path / "a")
    before = path.read_bytes()
    again.folder.path.joinpath("events.jsonl").unlink()
    whole = resume(host, benchmark.folder, settings)
    list(whole.run())
    _, path = write_files(whole, tmp_path / "a")
    assert path.read_bytes() == before


def test_E10_texts_that_are_empty_short_or_longer_than_the_context_have_a_stated_score(host: Host) -> None:
    model = EngineModel(host)
    texts = ["", "a", "the quick brown fox " * 300]
    scores = dict(model.rolling(texts, {0, 1, 2}))
    assert scores[0].reason == "the text is empty"  # type: ignore[union-attr]
    assert isinstance(scores[1], float) and math.isfinite(scores[1]) and scores[1] < 0
    ids = host.loaded.tokenizer(texts[2])["input_ids"]
    assert len(ids) > host.loaded.n_context
    assert isinstance(scores[2], float) and scores[2] < scores[1]


def test_E11_a_row_without_a_right_answer_is_left_out_with_its_reason(host: Host, tmp_path: Path) -> None:
    rows = [*ROWS[:10], dict(ROWS[10], label=-1), *ROWS[11:]]
    benchmark = begin(host, hub(tmp_path, rows))
    list(benchmark.run())
    made, _ = write_files(benchmark, tmp_path / "out")
    assert made.data["results"]["wnli"]["sample_len"] == 23
    assert "1 samples not scored. The first: the right answer (-1) is not among the 2 choices" in made.table


def test_E13_a_data_set_without_usable_rows_ends_the_run_with_the_reason(host: Host, tmp_path: Path) -> None:
    benchmark = begin(host, hub(tmp_path, [dict(row, label=-1) for row in ROWS]))
    with pytest.raises(UserError, match="wnli: 2 samples could not be scored.*not among the 2 choices"):
        list(benchmark.run())


def test_E18_chats_get_their_own_text_while_an_evaluation_runs_and_scores_stay(host: Host, tmp_path: Path) -> None:
    settings = hub(tmp_path, ROWS)
    alone = begin(host, settings)
    list(alone.run())
    prompt, greedy = [5, 6, 7], SamplingConfig(temperature=0.0, max_new_tokens=12)
    want = ids_of(host.stream(prompt, greedy))
    together = begin(host, settings)
    steps = together.run()
    next(steps)
    streams = [host.stream(prompt, greedy) for _ in range(8)]
    list(steps)
    assert [ids_of(stream) for stream in streams] == [want] * 8
    assert together.results == alone.results


def test_rows_come_from_the_folder_that_was_named_not_from_another_of_its_name(tmp_path: Path) -> None:
    from eval.tasks.harness import load_tasks

    def first(settings: Settings) -> str:
        return load_tasks(["wnli"], TaskOptions(limit=1), data=settings.data).tasks["wnli"].samples[0].requests[0].text

    one, other = hub(tmp_path / "one", ROWS[:8]), hub(tmp_path / "other", ROWS[8:16])
    assert "saw 0 cats" in first(one) and "saw 8 cats" in first(other)
    hub(tmp_path / "one", ROWS[16:])
    assert "saw 16 cats" in first(one)
