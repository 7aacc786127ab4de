"""Log-likelihoods against transformers' own forward, one request at a time."""

import random
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

from llm_app.config import ModelConfig, Settings
from llm_app.engine import turn as turn_module
from llm_app.engine.adapters import Adapters
from llm_app.engine.branches import _is_greedy
from llm_app.engine.forward import forward
from llm_app.engine.host import Host
from llm_app.engine.loading import LoadedModel
from llm_app.engine.packing import SPARE_PAIRS, Request, plan
from llm_app.engine.scoring import loglikelihoods, rolling, windows
from llm_app.engine.slots import SlotCache
from llm_app.engine.turn import CHAT, Turn
from tests import tiny

VOCABULARY = 403


@pytest.fixture(scope="module")
def host(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    host = Host(Settings(home=tmp_path_factory.mktemp("home")))
    for _ in host.load(ModelConfig(str(tiny_llama), precision="fp32")):
        pass
    yield host
    host.unload()


def tokens(rng: random.Random, n: int) -> list[int]:
    return [rng.randrange(400) for _ in range(n)]


def questions(seed: int, n: int, *, n_shots: int = 0, n_choices: int = 4) -> list[Request]:
    """Multiple choice: one beginning for all, a context per question, choices of one to nine tokens."""
    rng = random.Random(seed)
    shots = tokens(rng, n_shots)
    made: list[Request] = []
    for _ in range(n):
        context = shots + tokens(rng, rng.randrange(1, 60))
        made += [(context, tokens(rng, rng.randrange(1, 10))) for _ in range(n_choices)]
    return made


def reference(model: torch.nn.Module, requests: Sequence[Request], n_context: int = 512) -> list[tuple[float, bool]]:
    """Each request by itself, through the model's own forward and log_softmax."""
    answers = []
    for context, continuation in requests:
        ids = torch.tensor([[*context, *continuation][-(n_context + 1) :]])
        with torch.inference_mode():
            logits = model(ids[:, :-1]).logits[0, -len(continuation) :].float()
        targets = ids[0, -len(continuation) :]
        logprobs = torch.log_softmax(logits, -1).gather(-1, targets[:, None])
        answers.append((float(logprobs.sum()), bool((logits.argmax(-1) == targets).all())))
    return answers


def scored(loaded: LoadedModel, requests: Sequence[Request], **options: int) -> list[tuple[float, bool]]:
    found = {index: (value, greedy) for index, value, greedy in loglikelihoods(loaded, Turn(), requests, **options)}
    return [found[index] for index in range(len(requests))]


def assert_equal(got: Sequence[tuple[float, bool]], want: Sequence[tuple[float, bool]], within: float = 1e-4) -> None:
    assert [greedy for _, greedy in got] == [greedy for _, greedy in want]
    assert max(abs(a[0] - b[0]) for a, b in zip(got, want, strict=True)) < within


@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3", "gemma3", "gpt2"])
@pytest.mark.parametrize("n_shots", [0, 90])
def test_scores_equal_the_models_own_forward(family: str, n_shots: int, request: pytest.FixtureRequest,
                                             settings: Settings) -> None:
    host = Host(settings)
    folder = request.getfixturevalue(f"tiny_{family}")
    for _ in host.load(ModelConfig(str(folder), precision="fp32")):
        pass
    requests = questions(1, 12, n_shots=n_shots)
    assert_equal(scored(host.loaded, requests), reference(host.loaded.model, requests))
    host.unload()


def test_E16_scores_do_not_depend_on_the_budget(host: Host) -> None:
    requests = questions(2, 10, n_shots=70) + questions(3, 10)
    want = reference(host.loaded.model, requests)
    for budget in (16, 100, 4096):
        assert_equal(scored(host.loaded, requests, budget_tokens=budget), want)


def test_a_request_longer_than_the_context_loses_tokens_on_the_left(host: Host) -> None:
    rng = random.Random(4)
    requests: list[Request] = [(tokens(rng, n), tokens(rng, k)) for n, k in ((511, 1), (512, 1), (600, 30), (3, 512))]
    assert_equal(scored(host.loaded, requests, budget_tokens=200), reference(host.loaded.model, requests))


def test_the_greedy_flag_is_true_for_what_greedy_decoding_gives(host: Host) -> None:
    context = tokens(random.Random(5), 20)
    ids = list(context)
    with torch.inference_mode():
        for _ in range(4):
            ids.append(int(host.loaded.model(torch.tensor([ids])).logits[0, -1].argmax()))
    greedy = ids[20:]
    other = [*greedy[:3], (greedy[3] + 1) % VOCABULARY]
    assert [flag for _, flag in scored(host.loaded, [(context, greedy), (context, other)])] == [True, False]


def test_of_equal_tokens_only_the_first_is_what_greedy_decoding_takes() -> None:
    logits = torch.tensor([[1.0, 3.0, 3.0], [2.0, 0.0, 1.0]])
    asked = [(0, 1), (0, 2), (1, 0), (1, 2)]
    rows, targets = torch.tensor(asked).T
    assert _is_greedy(logits, rows, targets).tolist() == [logits[row].argmax() == target for row, target in asked]


def test_what_prompts_share_is_read_once() -> None:
    shots, n_context = 300, 512
    requests = questions(6, 20, n_shots=shots)
    batches = plan(requests, n_context=n_context, budget_tokens=1024)
    n_read = sum(len(base) for base in {batch.base for batch in batches}) + sum(batch.size for batch in batches)
    n_distinct = shots + sum(len(requests[i][0]) - shots + sum(len(c) for _, c in requests[i : i + 4])
                             for i in range(0, 80, 4))
    assert n_read <= 1.05 * n_distinct
    assert sorted(i for batch in batches for i in batch.indices) == list(range(80))


def test_choices_of_one_token_are_one_row() -> None:
    context = list(range(50))
    requests: list[Request] = [(context, [choice]) for choice in (60, 61, 62, 63)]
    (batch,) = plan(requests, n_context=512, budget_tokens=1024)
    assert batch.size == 50


def test_a_part_that_is_left_gets_the_numbers_of_the_whole(host: Host) -> None:
    requests = questions(7, 30)
    whole = {i: v for i, v, _ in loglikelihoods(host.loaded, Turn(), requests, budget_tokens=128)}
    left = set(range(40, 60))
    part = {i: v for i, v, _ in loglikelihoods(host.loaded, Turn(), requests, budget_tokens=128, wanted=left)}
    assert left <= part.keys() and len(part) < len(whole)
    assert all(part[i] == whole[i] for i in part)  # to the last bit


def test_an_adapter_changes_the_scores_and_the_base_gets_its_own_back(
    tiny_llama: Path, tiny_adapter: Path, host: Host
) -> None:
    loaded, requests = host.loaded, questions(8, 4)
    base = scored(loaded, requests)
    adapters: Adapters = loaded.adapters
    adapters.attach(tiny_adapter, name="lora")
    tuned = {i: v for i, v, _ in loglikelihoods(loaded, Turn(), requests, adapter="lora")}
    assert max(abs(tuned[i] - base[i][0]) for i in tuned) > 0.1
    assert scored(loaded, requests) == base
    adapters.use("lora")
    assert_equal([(tuned[i], f) for i, (_, f) in enumerate(reference(loaded.model, requests))],
                 reference(loaded.model, requests))
    adapters.detach("lora")


@pytest.mark.parametrize("n", [1, 511, 512, 513, 1400])
def test_rolling_windows_are_those_of_the_reference_harness(n: int) -> None:
    ids = list(range(n))
    want = [make_disjoint_window(pair) for pair in get_rolling_token_windows(ids, 7, 512, 1)]
    assert [(list(a), list(b)) for a, b in windows(ids, 7, 512)] == [(list(a), list(b)) for a, b in want]
    assert list(windows([], 7, 512)) == []


def test_rolling_scores_every_token_of_a_long_text_once(host: Host) -> None:
    rng = random.Random(9)
    texts = [tokens(rng, 1300), tokens(rng, 5), [], tokens(rng, 512)]
    got = dict(rolling(host.loaded, Turn(), texts, prefix_token=400, budget_tokens=200))
    for index, ids in enumerate(texts):
        want = sum(value for value, _ in reference(host.loaded.model, list(windows(ids, 400, 512))))
        assert got[index] == pytest.approx(want, abs=1e-3)
    assert got[2] == 0.0


def test_short_inputs_are_not_padded_to_a_long_one() -> None:
    rng = random.Random(4)
    requests = [(tokens(rng, 900), [1]), *((tokens(rng, 10), [1]) for _ in range(40))]
    batches = plan(requests, n_context=2048, budget_tokens=1024)
    assert sorted(index for batch in batches for index in batch.indices) == list(range(41)) and len(batches) < 4
    for batch in batches:
        sizes = [tree.size for tree in batch.trees]
        assert len(sizes) * max(sizes) ** 2 <= 2 * sum(size**2 for size in sizes) + SPARE_PAIRS


def test_a_model_that_cannot_be_batched_is_scored_one_request_at_a_time(tiny_llama: Path, settings: Settings) -> None:
    host = Host(settings)
    for _ in host.load(ModelConfig(str(tiny_llama), precision="fp32")):
        pass
    host.loaded.is_batchable = False
    requests = questions(10, 3)
    assert_equal(scored(host.loaded, requests), reference(host.loaded.model, requests))
    host.unload()


def test_bf16_scores_stay_near_those_of_fp32(tmp_path: Path, settings: Settings, host: Host) -> None:
    folder = tiny.make_model(tmp_path / "bf16", dtype="bfloat16")
    other = Host(settings)
    for _ in other.load(ModelConfig(str(folder), precision="bf16")):
        pass
    requests = questions(11, 6)
    got, want = scored(other.loaded, requests), scored(host.loaded, requests)
    assert max(abs(a - b) / abs(b) for (a, _), (b, _) in zip(got, want, strict=True)) < 0.05
    other.unload()


def test_E15_a_batch_that_does_not_fit_is_halved_and_scores_stay(host: Host) -> None:
    requests = questions(12, 12)
    want = scored(host.loaded, requests)

    def full_memory(module: torch.nn.Module, args: object, kwargs: dict[str, torch.Tensor]) -> None:
        if kwargs["input_ids"].shape[1] > 200:
            raise MemoryError

    hook = host.loaded.model.get_decoder().register_forward_pre_hook(full_memory, with_kwargs=True)
    try:
        assert_equal(scored(host.loaded, requests), want)
    finally:
        hook.remove()


def test_E11_an_empty_continuation_is_refused_by_its_number(host: Host) -> None:
    with pytest.raises(ValueError, match="request 1 has an empty continuation"):
        list(loglikelihoods(host.loaded, Turn(), [([1], [2]), ([1], [])]))


def test_chats_between_the_layers_of_a_pass_change_no_bit_of_its_scores(
    host: Host, tiny_adapter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests, loaded, ways = questions(3, 12), host.loaded, []
    alone = sorted(loglikelihoods(loaded, Turn(), requests))
    loaded.adapters.attach(tiny_adapter, name="other")
    monkeypatch.setattr(turn_module, "LEAST_SECONDS", 0.0)  # a tiny model's pass is shorter
    turn, is_over, plain = Turn(), threading.Event(), Turn.give_way
    monkeypatch.setattr(Turn, "give_way", lambda self, rank: ways.append(plain(self, rank)) or ways[-1])

    def chat() -> None:
        while not is_over.is_set():
            with turn.held(CHAT):
                loaded.adapters.use("other")
                forward(loaded.model, SlotCache(), [[5, 6, 7]], [0])

    thread = threading.Thread(target=chat)
    thread.start()
    try:
        beside = sorted(loglikelihoods(loaded, turn, requests))
    finally:
        is_over.set()
        thread.join()
        loaded.adapters.use(None)
        loaded.adapters.detach("other")
    assert any(ways), "no chat came between"
    assert beside == alone
