"""The same code on a GPU (make test-gpu), against the same models on the CPU; in float32, without TF32."""

import logging
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from peft import PeftModel

from benchmarks.prompts import short_prompts
from llm_app.config import ModelConfig, Settings
from llm_app.engine import fit
from llm_app.engine.catalog import find_model
from llm_app.engine.host import Host
from llm_app.engine.loading import load, release_memory
from llm_app.engine.packing import Request
from llm_app.engine.scorer import TooLargeAlone
from llm_app.engine.scoring import loglikelihoods, rolling, windows
from llm_app.engine.turn import Turn
from llm_app.errors import DoesNotFit, NotEnoughMemory, UserError
from tests import tiny
from tests.engine.test_decoding import generate, prompts
from tests.engine.test_scoring import assert_equal, questions, reference, scored, tokens
from tests.running import GREEDY, ids_of

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]

# Nats between a score of ten tokens on the GPU and on the CPU, which add up in another order.
WITHIN = 1e-3
PRECISIONS = ("bf16", "int8", "nf4", "fp4", "gguf")
# Nats a token that the text below may cost more or less than in float32.
COST = {"bf16": 0.02, "int8": 0.05, "nf4": 0.5, "fp4": 0.7, "gguf": 0.02}


@contextmanager
def on_gpu(model: str | Path, settings: Settings, precision: str = "fp32") -> Iterator[Host]:
    """A host that has loaded the model on the GPU."""
    host = Host(settings)
    for _ in host.load(ModelConfig(str(model), precision=precision, device="cuda")):
        pass
    try:
        yield host
    finally:
        host.unload()


@contextmanager
def only_free(n_bytes: float) -> Iterator[None]:
    """All other memory of the GPU is taken."""
    release_memory()
    ballast = torch.empty(int(torch.cuda.mem_get_info()[0] - n_bytes), dtype=torch.uint8, device="cuda")
    try:
        yield
    finally:
        del ballast
        release_memory()


def cost(host: Host) -> float:
    """Nats a token of a short text."""
    ids = host.loaded.tokenizer.encode(" ".join(short_prompts()))
    ((_, value),) = rolling(host.loaded, Turn(), [ids], prefix_token=ids[0])
    return -value / len(ids)


def long_requests(n: int, seed: int = 1) -> list[Request]:
    """Of two thousand tokens each."""
    rng = random.Random(seed)
    return [(tokens(rng, 1990), tokens(rng, 10)) for _ in range(n)]


def test_auto_takes_the_gpu_and_cpu_means_the_cpu(tiny_llama: Path, settings: Settings) -> None:
    for device, kind in (("auto", "cuda"), ("cpu", "cpu")):
        host = Host(settings)
        for _ in host.load(ModelConfig(str(tiny_llama), device=device)):
            pass
        assert {host.loaded.device.type, host.loaded.model.device.type} == {kind}
        host.unload()


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_greedy_decoding_on_the_gpu_equals_generate_on_the_cpu(
    family: str, request: pytest.FixtureRequest, settings: Settings
) -> None:
    folder = request.getfixturevalue(f"tiny_{family}")
    with on_gpu(folder, settings) as host:
        assert host.loaded.is_batchable
        for prompt in prompts(6):
            assert ids_of(host.stream(prompt, GREEDY)) == generate(folder, prompt)


def test_sixteen_streams_at_once_on_the_gpu_give_what_each_gives_alone(tiny_llama: Path, settings: Settings) -> None:
    with on_gpu(tiny_llama, settings) as host:
        asked = prompts(16)
        streams = [host.stream(prompt, GREEDY) for prompt in asked]
        assert [ids_of(stream) for stream in streams] == [generate(tiny_llama, prompt) for prompt in asked]


def test_sampled_text_on_the_gpu_depends_on_the_seed_and_not_on_the_neighbours(
    tiny_llama: Path, settings: Settings
) -> None:
    rules = replace(GREEDY, temperature=1.0, top_k=0, top_p=1.0, seed=7)
    with on_gpu(tiny_llama, settings) as host:
        first, *others = prompts(9)
        alone = ids_of(host.stream(first, rules))
        crowd = [host.stream(prompt, replace(rules, seed=None)) for prompt in others]
        assert ids_of(host.stream(first, rules)) == alone
        for stream in crowd:
            stream.close()


def test_beam_search_on_the_gpu_equals_generate_on_the_cpu(tiny_llama: Path, settings: Settings) -> None:
    with on_gpu(tiny_llama, settings) as host:
        for prompt in prompts(3):
            want = generate(tiny_llama, prompt, num_beams=3)
            assert ids_of(host.stream(prompt, replace(GREEDY, n_beams=3))) == want


@pytest.mark.parametrize("family", tiny.FAMILIES)
@pytest.mark.parametrize("n_shots", [0, 90])
def test_scores_on_the_gpu_equal_the_models_own_forward_on_the_cpu(
    family: str, n_shots: int, request: pytest.FixtureRequest, settings: Settings
) -> None:
    folder = request.getfixturevalue(f"tiny_{family}")
    requests = questions(1, 12, n_shots=n_shots)
    want = reference(tiny.load_plain(folder), requests)
    with on_gpu(folder, settings) as host:
        for budget in (16, 100, 4096):
            assert_equal(scored(host.loaded, requests, budget_tokens=budget), want, WITHIN)
        host.loaded.is_batchable = False
        assert_equal(scored(host.loaded, requests), want, WITHIN)


def test_rolling_scores_on_the_gpu_equal_those_on_the_cpu(tiny_llama: Path, settings: Settings) -> None:
    rng = random.Random(9)
    texts = [tokens(rng, 1300), tokens(rng, 5), tokens(rng, 512)]
    plain = tiny.load_plain(tiny_llama)
    with on_gpu(tiny_llama, settings) as host:
        got = dict(rolling(host.loaded, Turn(), texts, prefix_token=400, budget_tokens=200))
    for index, ids in enumerate(texts):
        want = sum(value for value, _ in reference(plain, list(windows(ids, 400, 512))))
        assert got[index] == pytest.approx(want, rel=1e-6, abs=WITHIN)


def test_log_probabilities_of_a_prompt_on_the_gpu_equal_those_on_the_cpu(
    tiny_llama: Path, settings: Settings
) -> None:
    ids = [5 + (7 * i) % 200 for i in range(300)]
    with torch.no_grad():
        want = torch.log_softmax(tiny.load_plain(tiny_llama)(torch.tensor([ids])).logits[0].float(), -1)
    with on_gpu(tiny_llama, settings) as host:
        found = host.prompt_logprobs(ids, 2)
    for row, (token, got) in enumerate(zip(ids[1:], found[1:], strict=True)):
        assert got.logprob == pytest.approx(float(want[row, token]), abs=WITHIN)


def test_an_adapter_on_the_gpu_scores_as_peft_does_on_the_cpu_and_the_base_gets_its_own_back(
    tiny_llama: Path, tiny_adapter: Path, settings: Settings
) -> None:
    requests = questions(8, 6)
    want = reference(PeftModel.from_pretrained(tiny.load_plain(tiny_llama), tiny_adapter).eval(), requests)
    with on_gpu(tiny_llama, settings) as host:
        base = scored(host.loaded, requests)
        host.loaded.adapters.attach(tiny_adapter, name="lora")
        assert_equal(tuned(host, requests), want, WITHIN)
        assert scored(host.loaded, requests) == base


@pytest.mark.parametrize("precision", ["bf16", "int8", "nf4", "fp4"])
def test_an_adapter_works_on_quantised_layers_on_the_gpu(
    precision: str, tiny_llama: Path, tiny_adapter: Path, settings: Settings
) -> None:
    requests = questions(8, 6)
    with on_gpu(tiny_llama, settings, precision) as host:
        base = scored(host.loaded, requests)
        host.loaded.adapters.attach(tiny_adapter, name="lora")
        assert max(abs(a - b) for (a, _), (b, _) in zip(tuned(host, requests), base, strict=True)) > 0.1
        assert scored(host.loaded, requests) == base


def tuned(host: Host, requests: Sequence[Request]) -> list[tuple[float, bool]]:
    found = {i: (value, greedy) for i, value, greedy in loglikelihoods(host.loaded, Turn(), requests, adapter="lora")}
    return [found[index] for index in range(len(requests))]


@pytest.fixture(scope="module")
def cost_in_float32(tmp_path_factory: pytest.TempPathFactory) -> float:
    with on_gpu("embedded", Settings(home=tmp_path_factory.mktemp("home"))) as host:
        return cost(host)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_precision_of_the_embedded_model_reads_and_answers_on_the_gpu(
    precision: str, settings: Settings, cost_in_float32: float
) -> None:
    with on_gpu("embedded", settings, precision) as host:
        assert host.loaded.is_batchable
        assert ids_of(host.stream(prompts(1)[0], GREEDY))
        assert cost(host) == pytest.approx(cost_in_float32, abs=COST[precision])


@pytest.mark.parametrize("precision", ["fp32", *PRECISIONS])
def test_the_estimate_covers_what_a_load_takes_and_unload_gives_it_back(precision: str, settings: Settings) -> None:
    config = ModelConfig("embedded", precision=precision, device="cuda")
    release_memory()
    before = torch.cuda.memory_allocated()
    needs = fit.estimate(find_model("embedded", settings), config).needs_bytes
    torch.cuda.reset_peak_memory_stats()
    with on_gpu("embedded", settings, precision) as host:
        assert ids_of(host.stream(prompts(1)[0], GREEDY))
        assert needs / 3 < torch.cuda.max_memory_reserved() - before <= needs
    assert torch.cuda.memory_allocated() - before < 10e6, "but for what the kernels keep to work in"


def test_a_batch_that_does_not_fit_on_the_gpu_is_halved_and_scores_stay(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    requests = long_requests(8)
    with on_gpu("embedded", settings) as host:
        want = scored(host.loaded, requests, budget_tokens=16_384)
        with only_free(300e6), caplog.at_level(logging.WARNING):
            got = scored(host.loaded, requests, budget_tokens=16_384)
        assert_equal(got, want, WITHIN)
    assert "not enough memory" in caplog.text


def test_a_request_that_does_not_fit_on_the_gpu_is_one_clear_error(settings: Settings) -> None:
    """The logits alone are 25 MB."""
    rng = random.Random(2)
    requests: list[Request] = [(tokens(rng, 10), tokens(rng, 200))]
    with on_gpu("embedded", settings) as host:
        want = scored(host.loaded, requests)
        with only_free(16e6), pytest.raises(TooLargeAlone):
            scored(host.loaded, requests)
        assert scored(host.loaded, requests) == want, "with memory it goes well again"


def test_a_reply_that_does_not_fit_on_the_gpu_is_one_clear_error_and_the_next_one_goes_well(
    settings: Settings
) -> None:
    prompt = [5 + i % 200 for i in range(1500)]
    with on_gpu("embedded", settings) as host:
        endless = replace(GREEDY, ignore_eos=True)
        want = ids_of(host.stream(prompt, endless))
        with only_free(4e6), pytest.raises(NotEnoughMemory):
            ids_of(host.stream(prompt, endless))
        assert ids_of(host.stream(prompt, endless)) == want


def test_a_model_that_does_not_fit_on_the_gpu_is_refused_before_it_is_read(settings: Settings) -> None:
    host, config = Host(settings), ModelConfig("embedded", precision="fp32", device="cuda")
    with only_free(300e6), pytest.raises(DoesNotFit, match=r"Needs about 0\.8 GB, 0\.3 GB free"):
        list(host.load(config))


def test_a_load_that_runs_out_of_memory_on_the_gpu_says_so_and_gives_the_memory_back(settings: Settings) -> None:
    config = ModelConfig("embedded", precision="fp32", device="cuda")
    with only_free(300e6):
        free = torch.cuda.mem_get_info()[0]
        with pytest.raises(UserError, match="embedded ran out of memory while loading"):
            list(load(config, settings))
        assert free - torch.cuda.mem_get_info()[0] < 20e6
