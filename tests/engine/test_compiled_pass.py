"""Few tokens through blocks as one compiled function, against transformers in float64 on the dequantised weights."""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from gguf import GGMLQuantizationType as Kind
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PreTrainedModel

from llm_app.engine import compact
from llm_app.engine.compiled import panels, team
from llm_app.engine.compiled_pass import MOST_TOKENS, CompiledPass
from llm_app.engine.forward import ATTENTION, forward
from llm_app.engine.norms import Norm
from llm_app.engine.packed import PackedLinear
from llm_app.engine.slots import Layout, SlotCache
from tests.engine.test_packed import KINDS, blocks
from tests.running import watched

SHARED = {
    "vocab_size": 256, "hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 3, "head_dim": 64,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 512, "initializer_range": 0.2,
}  # fmt: skip
SCALED = {"rope_type": "llama3", "rope_theta": 500.0, "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 64}  # fmt: skip
CONFIGS = {
    "llama": transformers.LlamaConfig(**SHARED, rope_parameters=SCALED),
    "mistral": transformers.MistralConfig(**SHARED, sliding_window=8),
    "qwen3": transformers.Qwen3Config(**SHARED),
    "qwen2": transformers.Qwen2Config(**{name: value for name, value in SHARED.items() if name != "head_dim"}),
    "dynamic": transformers.LlamaConfig(
        **SHARED, rope_parameters={"rope_type": "dynamic", "rope_theta": 500.0, "factor": 2.0}
    ),
}
PROMPT = [5, 9, 200, 31, 7, 77, 150, 3, 42, 8, 19, 64, 90, 80, 70, 60, 50, 40, 30, 20, 11, 12]


def of_blocks(config: transformers.PreTrainedConfig, kind: Kind) -> PreTrainedModel:
    """A random model whose layers are blocks of this kind, or dense, passed through in the compact way."""
    torch.manual_seed(5)
    model = AutoModelForCausalLM.from_config(config, attn_implementation=ATTENTION, dtype=torch.bfloat16).eval()
    seed = 0
    for layer in model.model.layers:
        for part in (layer.self_attn, layer.mlp):
            for name, linear in list(part.named_children()):
                if isinstance(linear, nn.Linear):
                    seed += 1
                    bias = linear.bias
                    if bias is not None:
                        nn.init.normal_(bias, 0.0, 2.0).requires_grad_(False)
                    setattr(part, name, _packed(linear, kind, seed))
        for norm in layer.modules():
            if type(norm).__name__.endswith("RMSNorm"):
                nn.init.normal_(norm.weight, 1.0, 0.3)
    assert compact.install(model)
    return model


def _packed(linear: nn.Linear, kind: Kind, seed: int) -> PackedLinear:
    if kind == Kind.BF16:
        return PackedLinear.of_dense(linear.weight, linear.bias)
    return PackedLinear(blocks(kind, (linear.out_features, linear.in_features), seed), kind, linear.bias)


def exact(model: PreTrainedModel, pieces: Sequence[Sequence[int]]) -> Tensor:
    """The last states (tokens, size) of transformers' own layers in float64 on the same weights."""
    twin = AutoModelForCausalLM.from_config(model.config, attn_implementation="eager", dtype=torch.float64).eval()
    weights = {name: value.double() for name, value in model.state_dict().items()}
    for name, module in model.named_modules():
        if isinstance(module, PackedLinear):
            weights[f"{name}.weight"] = module.tiles.dense().double()
    twin.load_state_dict(weights)
    with torch.inference_mode():
        return twin.model(input_ids=torch.tensor([[token for piece in pieces for token in piece]])).last_hidden_state[0]


@torch.inference_mode()
def states(
    model: PreTrainedModel,
    pieces: Sequence[Sequence[int]],
    *,
    n_rows: int = 1,
    first_row: int = 0,
    is_shared: bool = False,
    layouts: dict[str, Any] | None = None,
) -> Tensor:
    """Of the last row's tokens that come piece by piece, (tokens, size); the rows before it hold other tokens."""
    taken, cache, found, n_before = model.model.forward, SlotCache(), [], 0
    for piece in pieces:
        cache.layout = layout = Layout(
            first_row, [n_before] * n_rows, len(piece), torch.device("cpu"), **(layouts or {})
        )  # fmt: skip
        others = [[(7 * row + token) % 256 for token in piece] for row in range(n_rows - 1, 0, -1)]
        ids = torch.tensor([*others, list(piece)])
        x = model.model.embed_tokens(ids).flatten(0, 1)
        if is_shared:
            out = taken.norm(taken.through_all(x, taken.turn(x, layout.positions), cache, layout, n_rows))
        else:
            out = taken.through(x, layout.positions, cache, layout)
        found.append(out.view(n_rows, len(piece), -1)[-1])
        n_before += len(piece)
    return torch.cat(found)


def error(got: Tensor, want: Tensor) -> float:
    """Mean error as a share of the numbers' size."""
    return float((got.double() - want).abs().mean() / want.abs().mean())


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that this way takes goes this way, as on processors that have no other for many tokens."""
    monkeypatch.setattr(panels, "LEAST", MOST_TOKENS + 1)


@pytest.fixture
def n_runs(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Grows by one for each pass that goes this way."""
    return watched(CompiledPass, "__call__", monkeypatch)


@pytest.mark.parametrize("kind", [*KINDS, Kind.BF16], ids=lambda kind: kind.name)
@pytest.mark.parametrize("family", CONFIGS)
def test_tokens_get_the_states_of_transformers_as_exactly_as_bfloat16_holds_them(
    family: str, kind: Kind, n_runs: list[tuple[Any, ...]]
) -> None:
    model = of_blocks(CONFIGS[family], kind)
    pieces = [PROMPT, *([token] for token in PROMPT[:10])]
    want = exact(model, pieces)
    n_runs.clear()
    got = error(states(model, pieces), want)
    assert len(n_runs) == len(pieces), "it took another way"
    other = error(states(model, pieces, is_shared=True), want)
    assert len(n_runs) == len(pieces)
    assert got < min(0.03 if kind == Kind.BF16 else 0.02, other), (got, other)


@pytest.mark.parametrize("family", CONFIGS)
def test_a_token_gets_the_same_bits_in_any_company(family: str, n_runs: list[tuple[Any, ...]]) -> None:
    model = of_blocks(CONFIGS[family], Kind.Q4_1)
    alone = states(model, [[token] for token in PROMPT])
    for pieces, n_rows, first_row in (
        ([PROMPT], 1, 0), ([PROMPT[:13], PROMPT[13:]], 1, 3), ([PROMPT[:8], PROMPT[8:16], PROMPT[16:]], 3, 0),
        ([[token] for token in PROMPT], 9, 2),
    ):  # fmt: skip
        n_runs.clear()
        assert torch.equal(states(model, pieces, n_rows=n_rows, first_row=first_row), alone)
        assert len(n_runs) == len(pieces)


def with_threads(made: Callable[[], Tensor]) -> list[Tensor]:
    """What comes of it with one, two and three threads."""
    found: list[Tensor] = []
    before = torch.get_num_threads()
    try:
        for n in (1, 2, 3):
            torch.set_num_threads(n)
            assert team.n_threads() == n
            found.append(made())
    finally:
        torch.set_num_threads(before)
    return found


def test_any_number_of_threads_gives_the_same_bits() -> None:
    model = of_blocks(CONFIGS["qwen3"], Kind.Q4_1)
    found = with_threads(lambda: states(model, [PROMPT, [1], [2]], n_rows=3))
    assert all(torch.equal(each, found[0]) for each in found)


OTHERWISE = """
import ctypes, llvmlite.binding, sys
features = llvmlite.binding.get_host_cpu_features()
features["avx512bf16"] = False
llvmlite.binding.get_host_cpu_features = lambda: features
class Refused(ctypes.CDLL):
    def __init__(self, *_arguments, **_options): raise OSError
import torch
ctypes.CDLL, plain = Refused, ctypes.CDLL
from llm_app.engine.compiled import team
ctypes.CDLL = plain
from llm_app.engine.compiled.products import HAS_DOT
assert team.IS_ALONE and team.n_threads() == 1 and not HAS_DOT
from tests.engine import test_compiled_pass, test_packed
test_packed.test_a_product_with_tiles_is_exact_up_to_float32(4)
test_packed.test_a_product_with_tiles_is_exact_up_to_float32(8)
model = test_compiled_pass.of_blocks(test_compiled_pass.CONFIGS["qwen3"], test_compiled_pass.Kind.Q4_1)
assert model.model.forward.compiled.additions(1) is not None
pieces = [[token] for token in test_compiled_pass.PROMPT]
error = test_compiled_pass.error(test_compiled_pass.states(model, pieces), test_compiled_pass.exact(model, pieces))
assert error < 0.02, error
"""


def test_a_processor_without_products_of_bfloat16_and_another_openmp_compute_the_same(tmp_path: Path) -> None:
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", OTHERWISE], env=environment, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]


@torch.inference_mode()
def test_rows_that_hold_more_or_less_and_get_more_or_less_get_what_each_gets_alone() -> None:
    model = of_blocks(CONFIGS["llama"], Kind.Q4_1)
    taken, cache, held = model.model.forward, SlotCache(), [5, 3, 6, 1]
    firsts = [PROMPT[row : row + n] for row, n in enumerate(held)]
    forward(model, cache, firsts, [0] * 4)
    more = [[7, 8, 9], [10], [11, 12], [13, 14, 15, 16]]
    forward(model, cache, more, held)
    ends = [n + len(tokens) for n, tokens in zip(held, more, strict=True)]
    logits = forward(model, cache, [[100 + row] for row in range(4)], ends)
    assert taken.compiled is not None and taken.compiled.additions(16) is not None
    for row, pieces in enumerate(zip(firsts, more, ([100 + row] for row in range(4)), strict=True)):
        alone, start = SlotCache(), 0
        for piece in pieces:
            want = forward(model, alone, [piece], [start])
            start += len(piece)
        assert torch.equal(logits[row], want[0])


def test_tokens_that_are_read_are_those_that_come_back() -> None:
    model, cache, reads = of_blocks(CONFIGS["llama"], Kind.Q4_1), SlotCache(), torch.tensor([3, 21])
    layout = Layout(0, [0], len(PROMPT), torch.device("cpu"), reads)
    with torch.inference_mode():
        found = model.model.forward.last_states(torch.tensor([PROMPT]), layout.positions, cache, layout)
    assert torch.equal(found, states(model, [PROMPT])[reads])


def test_between_layers_others_get_their_turn_and_may_end_the_pass() -> None:
    model, turns = of_blocks(CONFIGS["llama"], Kind.Q4_1), []
    want = states(model, [PROMPT])
    assert torch.equal(states(model, [PROMPT], layouts={"between_layers": lambda: turns.append(1)}), want)
    assert len(turns) == 2

    def stop() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        states(model, [PROMPT], layouts={"between_layers": stop})


def test_a_cache_grows_on_the_way() -> None:
    model = of_blocks(CONFIGS["mistral"], Kind.Q4_1)
    ids = [(7 * i + 3) % 256 for i in range(270)]
    in_chunks = states(model, [ids[i : i + 24] for i in range(0, 270, 24)])
    assert torch.equal(states(model, [ids[:24], *([token] for token in ids[24:])]), in_chunks)


def test_a_model_with_layers_that_are_no_blocks_has_no_such_way() -> None:
    model = AutoModelForCausalLM.from_config(CONFIGS["llama"], attn_implementation=ATTENTION).eval()
    assert compact.install(model) and model.model.forward.compiled is None


@pytest.mark.parametrize("n_rows", [1, 5])
def test_the_norm_is_that_of_transformers_up_to_one_rounding(n_rows: int) -> None:
    module = transformers.models.llama.modeling_llama.LlamaRMSNorm(576, eps=1e-5).to(torch.bfloat16)
    nn.init.normal_(module.weight, 1.0, 0.3)
    x = torch.randn(n_rows, 576, dtype=torch.bfloat16) * 40
    x[:, 7] = 3000.0  # one of the outliers that language models have
    want = module.double()(x.double())
    torch.testing.assert_close(Norm(module.bfloat16())(x).double(), want, rtol=2**-8, atol=0)
