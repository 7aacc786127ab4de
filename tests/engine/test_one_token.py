"""One token of one reply through blocks, against the layers that many tokens go through."""

from typing import Any

import pytest
import torch
import transformers
from gguf import GGMLQuantizationType as Kind
from gguf.quants import quantize
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from transformers import AutoModelForCausalLM, PreTrainedModel

from llm_app.engine import attention, compact, one_token
from llm_app.engine.adapter_change import Change
from llm_app.engine.adapter_file import LoraPair
from llm_app.engine.forward import ATTENTION, Layout, SlotCache
from llm_app.engine.one_token import Norm, OneToken
from llm_app.engine.packed import PackedLinear

SHARED = {
    "vocab_size": 256, "hidden_size": 128, "intermediate_size": 192, "num_hidden_layers": 3, "head_dim": 32,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 128, "initializer_range": 0.2,
}  # fmt: skip
CONFIGS = {
    "llama": transformers.LlamaConfig(**SHARED, rope_theta=500.0),
    "mistral": transformers.MistralConfig(**SHARED, sliding_window=8),
    "qwen3": transformers.Qwen3Config(**SHARED),
}
PROMPT = [5, 9, 200, 31, 7, 77, 150, 3, 42, 8, 19, 64]


def of_blocks(config: transformers.PreTrainedConfig, kind: Kind) -> PreTrainedModel:
    """A random model whose layers are blocks of this kind, passed through in the compact way."""
    torch.manual_seed(5)
    model = AutoModelForCausalLM.from_config(config, attn_implementation=ATTENTION, dtype=torch.bfloat16).eval()
    for layer in model.model.layers:
        for part in (layer.self_attn, layer.mlp):
            for name, linear in list(part.named_children()):
                if isinstance(linear, nn.Linear):
                    setattr(part, name, PackedLinear(quantize(linear.weight.detach().float().numpy(), kind), kind))
        for norm in layer.modules():
            if type(norm).__name__.endswith("RMSNorm"):
                nn.init.normal_(norm.weight, 1.0, 0.3)
    assert compact.install(model)
    return model


@torch.inference_mode()
def states(model: PreTrainedModel, n_tokens: int, *, is_shared: bool) -> list[Tensor]:
    """Of tokens that come one at a time, after a prompt that came as one."""
    taken, cache, found = model.model.forward, SlotCache(), []
    pieces = [PROMPT, *([i % 256] for i in range(n_tokens))]
    n_before = 0
    for piece in pieces:
        cache.layout = layout = Layout(0, [n_before], len(piece), torch.device("cpu"))
        x = model.model.embed_tokens(torch.tensor(piece))
        turn = taken.turn(x[None], layout.positions)
        found.append(taken.through(x, turn, cache, layout, 1, is_shared=is_shared))
        n_before += len(piece)
    return found[1:]


def counted_runs(monkeypatch: pytest.MonkeyPatch, way: type[Any]) -> list[int]:
    """Grows by one for each time that states come out of this way."""
    counted: list[int] = []
    plain = way.__call__

    def counting(self: object, *arguments: object) -> Tensor | None:
        result: Tensor | None = plain(self, *arguments)
        counted.extend([1] * (result is not None))
        return result

    monkeypatch.setattr(way, "__call__", counting)
    return counted


@pytest.fixture
def n_runs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many states came out of the function for one token."""
    return counted_runs(monkeypatch, OneToken)


@pytest.mark.parametrize("kind", [Kind.Q4_1, Kind.Q8_0], ids=lambda kind: kind.name)
@pytest.mark.parametrize("family", CONFIGS)
@pytest.mark.parametrize("many_keys", [attention.MANY_KEYS, 18])  # the latter beyond the window of "mistral"
def test_a_token_alone_gets_what_it_gets_among_many(
    family: str, kind: Kind, many_keys: int, n_runs: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (attention, one_token):
        monkeypatch.setattr(module, "MANY_KEYS", many_keys)
    model = of_blocks(CONFIGS[family], kind)
    n_runs.clear()
    alone = states(model, 20, is_shared=False)
    assert len(n_runs) == 20, "it took the other way"
    want = states(model, 20, is_shared=True)
    assert len(n_runs) == 20
    if family != "mistral":
        assert all(torch.equal(a, b) for a, b in zip(alone, want, strict=True))
    else:  # it reads only the keys of the window, where the other way masks the rest: sums in another order
        for a, b in zip(alone, want, strict=True):
            error = (a.float() - b.float()).pow(2).mean().sqrt()
            assert float(error) < 0.05 * float(b.float().pow(2).mean().sqrt())


def adapter(model: PreTrainedModel, seed: int, *, is_whole: bool, growth: bool = False) -> list[RemovableHandle]:
    """Hangs an adapter on all layers of the model, or on some of each."""
    torch.manual_seed(seed)
    handles = []
    for name, module in model.named_modules():
        if isinstance(module, PackedLinear) and (is_whole or "v_proj" in name or "up_proj" in name):
            magnitude = torch.rand(module.out_features) + 1 if growth else None
            pair = LoraPair(torch.randn(4, module.in_features), torch.randn(module.out_features, 4), 0.01, magnitude)
            handles.append(module.register_forward_hook(Change.of(pair, module)))
    return handles


def assert_adapted(alone: list[Tensor], want: list[Tensor], plain: list[Tensor]) -> None:
    """The same up to sums in another order, of which bfloat16 shows few: and far less than what the adapter does."""
    for a, b, without in zip(alone, want, plain, strict=True):
        changed = (b - without).float().abs().mean()
        assert changed > 0 and (a - b).float().abs().mean() < 0.02 * changed


@pytest.mark.parametrize("is_whole", [True, False])
def test_an_adapter_adds_to_a_token_alone_what_it_adds_among_many(is_whole: bool, n_runs: list[int]) -> None:
    model = of_blocks(CONFIGS["qwen3"], Kind.Q4_1)
    plain, found = states(model, 3, is_shared=True), []
    n_runs.clear()
    for seed in (1, 2):
        handles = adapter(model, seed, is_whole=is_whole)
        alone, want = (states(model, 3, is_shared=flag) for flag in (False, True))
        assert_adapted(alone, want, plain)
        found.append(alone[0])
        for handle in handles:
            handle.remove()
    assert len(n_runs) == 6 and not torch.equal(*found)
    assert all(map(torch.equal, states(model, 3, is_shared=False), plain))


def test_what_is_no_lora_and_a_cache_that_has_to_grow_take_the_way_of_many(n_runs: list[int]) -> None:
    model = of_blocks(CONFIGS["llama"], Kind.Q4_1)
    n_runs.clear()
    plain = states(model, 260, is_shared=False)
    assert len(n_runs) == 259, "the cache grew once"
    n_runs.clear()
    stranger = [model.model.layers[1].mlp.down_proj.register_forward_hook(lambda _module, _inputs, output: output + 1)]
    for handles in (stranger, adapter(model, 1, is_whole=True, growth=True)):
        changed = states(model, 2, is_shared=False)
        assert not n_runs and not torch.equal(changed[0], plain[0])
        for handle in handles:
            handle.remove()


def test_the_step_runs_without_python() -> None:
    of_blocks(CONFIGS["llama"], Kind.Q4_1)
    assert isinstance(OneToken._run, torch.jit.ScriptFunction)


def test_a_model_with_layers_that_are_no_blocks_has_no_such_way() -> None:
    model = AutoModelForCausalLM.from_config(CONFIGS["llama"], attn_implementation=ATTENTION).eval()
    assert compact.install(model) and model.model.forward._ways == []


@pytest.mark.parametrize("n_rows", [1, 5])
def test_the_norm_is_that_of_transformers_up_to_one_rounding(n_rows: int) -> None:
    module = transformers.models.llama.modeling_llama.LlamaRMSNorm(576, eps=1e-5).to(torch.bfloat16)
    nn.init.normal_(module.weight, 1.0, 0.3)
    x = torch.randn(n_rows, 576, dtype=torch.bfloat16) * 40
    x[:, 7] = 3000.0  # one of the outliers that language models have
    exact = module.double()(x.double())
    torch.testing.assert_close(Norm(module.bfloat16())(x).double(), exact, rtol=2**-8, atol=0)
