"""Loading, swapping and unloading while others use the model."""

import gc
import threading
import time
import weakref
from pathlib import Path

import psutil
import pytest

from llm_app.config import ModelConfig, SamplingConfig, Settings
from llm_app.engine import fit
from llm_app.engine.catalog import find_model
from llm_app.engine.host import Host
from llm_app.errors import DoesNotFit, ModelBusy, ModelLoading, ModelNotFound, ModelRejected, ShuttingDown
from tests import tiny
from tests.engine.test_decoding import prompts, wait_until_idle
from tests.running import GREEDY, have_free, ids_of, running

ENDLESS = SamplingConfig(temperature=0.0, max_new_tokens=300, ignore_eos=True)


def drain(host: Host, folder: Path, **options: str) -> None:
    for _ in host.load(ModelConfig(str(folder), precision="fp32", **options)):
        pass


def leave_too_little(monkeypatch: pytest.MonkeyPatch, host: Host, folder: Path) -> None:
    """The machine has room for the model in this folder in place of the loaded one, not beside it."""
    needs = fit.estimate(find_model(str(folder), host.settings), ModelConfig(str(folder), precision="fp32")).needs_bytes
    have_free(monkeypatch, needs - host.loaded.n_bytes // 2)


def test_a_reply_of_the_old_model_ends_normally_while_the_new_one_already_answers(
    tiny_llama: Path, tiny_gpt2: Path, settings: Settings
) -> None:
    with running(tiny_llama, settings) as host:
        want = ids_of(host.stream(prompts(1)[0], ENDLESS))
        stream = host.stream(prompts(1)[0], ENDLESS)
        next(stream)
        drain(host, tiny_gpt2)
        assert host.status().model == str(tiny_gpt2)
        assert ids_of(host.stream([5, 6], GREEDY))
        assert len(ids_of(stream)) >= len(want) - 2


def test_L1_a_load_that_fails_leaves_the_present_model_serving(
    tiny_llama: Path, settings: Settings, tmp_path: Path
) -> None:
    broken = tiny.make_model(tmp_path / "broken", seed=3)
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with running(tiny_llama, settings) as host:
        before = ids_of(host.stream(prompts(1)[0], GREEDY))
        with pytest.raises(ModelRejected, match="incomplete"):
            drain(host, broken)
        assert host.status().model == str(tiny_llama)
        assert "incomplete" in (host.status().reason or "")
        assert ids_of(host.stream(prompts(1)[0], GREEDY)) == before


def test_L12_a_model_that_does_not_fit_even_without_the_present_one_leaves_it_serving(
    tiny_llama: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(tiny_llama, settings) as host:
        have_free(monkeypatch, 100_000_000)
        with pytest.raises(DoesNotFit, match=r"0\.2 GB.*0\.1 GB"):
            drain(host, tiny_llama)
        assert ids_of(host.stream([5, 6], GREEDY))


def test_a_model_that_fits_only_in_place_of_the_present_one_takes_it_and_gives_it_back_when_it_fails(
    tiny_llama: Path, tiny_gpt2: Path, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(tiny_llama, settings) as host:
        leave_too_little(monkeypatch, host, tiny_gpt2)
        drain(host, tiny_gpt2)
        assert host.status().model == str(tiny_gpt2)
        broken = tiny.make_model(tmp_path / "broken", family="gpt2")
        (broken / "tokenizer.json").write_text("{")
        leave_too_little(monkeypatch, host, broken)
        with pytest.raises(ModelRejected):
            drain(host, broken)
        assert host.status().model == str(tiny_gpt2)
        have_free(monkeypatch, 4_000_000_000)
        assert ids_of(host.stream([5, 6], GREEDY))


def test_L19_of_two_loads_at_once_one_is_told_to_wait(tiny_llama: Path, tiny_gpt2: Path, settings: Settings) -> None:
    host = Host(settings)
    first = host.load(ModelConfig(str(tiny_llama), precision="fp32"))
    next(first)
    with pytest.raises(ModelBusy) as refused:
        next(host.load(ModelConfig(str(tiny_gpt2))))
    assert refused.value.status == 409
    assert host.status().state == "loading"
    with pytest.raises(ModelLoading, match="being loaded"):
        host.stream([5], GREEDY)
    for _ in first:
        pass
    assert host.status().model == str(tiny_llama)
    host.unload()


def test_L20_a_load_cancelled_midway_leaves_the_earlier_model_and_no_memory(
    tiny_gpt2: Path, settings: Settings, tmp_path: Path
) -> None:
    big = tiny.make_model(tmp_path / "big", hidden=1024, n_layers=6)
    with running(tiny_gpt2, settings) as host:
        before = ids_of(host.stream([5, 6], GREEDY))
        gc.collect()
        rss = psutil.Process().memory_info().rss
        loading = host.load(ModelConfig(str(big), precision="fp32"))
        for progress in loading:
            if progress.fraction > 0.5:
                break
        loading.close()
        time.sleep(0.2)
        assert psutil.Process().memory_info().rss - rss < 50e6 + 0.05 * rss
        assert host.status().state == "ready"
        assert ids_of(host.stream([5, 6], GREEDY)) == before
        drain(host, tiny_gpt2)  # nothing is left locked


def test_unload_gives_the_memory_back_and_says_what_to_do_next(settings: Settings, tmp_path: Path) -> None:
    big = tiny.make_model(tmp_path / "big", hidden=1024, n_layers=6)
    host = Host(settings)
    drain(host, big)
    list(host.stream([5, 6], GREEDY))
    gc.freeze()  # as a server does once it is up
    rss, n_bytes = psutil.Process().memory_info().rss, host.loaded.n_bytes
    host.unload()
    gc.unfreeze()
    assert rss - psutil.Process().memory_info().rss > 0.7 * n_bytes
    with pytest.raises(ModelLoading, match="Load one"):
        host.stream([5], GREEDY)


def test_base_and_adapter_answer_side_by_side_in_one_loaded_model(
    tiny_llama: Path, tiny_adapter: Path, settings: Settings
) -> None:
    with running(tiny_llama, settings) as host:
        base = ids_of(host.stream(prompts(1)[0], GREEDY))
        report = host.attach(str(tiny_adapter))
        name = host.adapter
        assert report.has_effect and name
        streams = [host.stream(prompts(1)[0], GREEDY, adapter=a) for a in (None, name, None, name)]
        answers = [ids_of(stream) for stream in streams]
        assert answers[0] == answers[2] == base
        assert answers[1] == answers[3] != base
        host.detach(name)
        with pytest.raises(ModelNotFound, match=name):
            host.stream([5], GREEDY, adapter=name)
        assert ids_of(host.stream(prompts(1)[0], GREEDY)) == base


def test_an_adapter_taken_away_during_a_reply_ends_that_reply_only(
    tiny_llama: Path, tiny_adapter: Path, settings: Settings
) -> None:
    with running(tiny_llama, settings) as host:
        host.attach(str(tiny_adapter))
        name = host.adapter
        assert name
        other, tuned = host.stream([5, 6], ENDLESS), host.stream([5, 6], ENDLESS, adapter=name)
        next(tuned)
        host.detach(name)
        with pytest.raises(ModelNotFound):
            list(tuned)
        assert len(ids_of(other)) == ENDLESS.max_new_tokens


def test_H13_after_shutdown_begins_new_requests_are_refused_and_running_ones_may_end(
    tiny_llama: Path, settings: Settings
) -> None:
    with running(tiny_llama, settings) as host:
        stream = host.stream([5, 6], ENDLESS)
        next(stream)
        closing = threading.Thread(target=host.shutdown, args=(20.0,))
        closing.start()
        time.sleep(0.05)
        with pytest.raises(ShuttingDown):
            host.stream([5], GREEDY)
        assert len(ids_of(stream)) == ENDLESS.max_new_tokens - 1
        closing.join()


def test_switching_models_many_times_under_load_mixes_nothing(
    tiny_llama: Path, tiny_gpt2: Path, settings: Settings
) -> None:
    with running(tiny_llama, settings) as host:
        want = {str(tiny_llama): ids_of(host.stream([5, 6], GREEDY))}
        drain(host, tiny_gpt2)
        want[str(tiny_gpt2)] = ids_of(host.stream([5, 6], GREEDY))
        for folder in (tiny_llama, tiny_gpt2) * 2:
            drain(host, folder)
            streams = [host.stream([5, 6], GREEDY) for _ in range(4)]
            assert all(ids_of(stream) == want[str(folder)] for stream in streams)
        wait_until_idle(host)


def test_a_model_whose_adapter_does_not_fit_it_takes_nobodys_place(
    tiny_llama: Path, tiny_gpt2: Path, tiny_adapter: Path, settings: Settings
) -> None:
    with running(tiny_llama, settings) as host:
        before, n_threads = ids_of(host.stream([5, 6], GREEDY)), threading.active_count()
        with pytest.raises(ModelRejected):
            drain(host, tiny_gpt2, adapter=str(tiny_adapter))
        assert host.loaded.entry.path == tiny_llama
        assert threading.active_count() == n_threads
        assert ids_of(host.stream([5, 6], GREEDY)) == before


def test_the_present_model_is_out_of_memory_before_one_that_needs_its_place_is_read(
    tiny_llama: Path, tiny_gpt2: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(tiny_llama, settings) as host:
        list(host.stream([5, 6], GREEDY))
        old = weakref.ref(host.loaded.model)
        leave_too_little(monkeypatch, host, tiny_gpt2)
        for progress in host.load(ModelConfig(str(tiny_gpt2), precision="fp32")):
            if progress.phase == "reading":
                assert old() is None
        assert ids_of(host.stream([5, 6], GREEDY))


def test_the_adapter_that_answered_answers_again_after_a_load_that_failed(
    tiny_llama: Path, tiny_adapter: Path, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tiny.make_model(tmp_path / "broken")
    (broken / "tokenizer.json").write_text("{")
    with running(tiny_llama, settings) as host:
        host.attach(str(tiny_adapter))
        before = host.adapter
        leave_too_little(monkeypatch, host, broken)
        with pytest.raises(ModelRejected):
            drain(host, broken)
        assert before is not None and host.adapter == before


def test_unloading_during_a_load_is_refused_with_what_to_do(tiny_llama: Path, settings: Settings) -> None:
    host = Host(settings)
    loading = host.load(ModelConfig(str(tiny_llama), precision="fp32"))
    next(loading)
    with pytest.raises(ModelBusy, match="Cancel"):
        host.unload()
    loading.close()
    host.unload()
