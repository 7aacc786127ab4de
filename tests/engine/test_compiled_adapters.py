"""Adapters, and what else hangs on layers, where few tokens go."""

from typing import Any

import pytest
import torch
from gguf import GGMLQuantizationType as Kind
from torch import Tensor
from torch.utils.hooks import RemovableHandle
from transformers import PreTrainedModel

from llm_app.engine.adapter_change import Change
from llm_app.engine.adapter_file import LoraPair
from llm_app.engine.added import Added
from llm_app.engine.compiled import panels
from llm_app.engine.compiled_pass import MOST_TOKENS
from llm_app.engine.packed import PackedLinear, PrepackedLinear
from tests.engine.test_compiled_pass import CONFIGS, PROMPT, n_runs, of_blocks, states
from tests.running import watched

__all__ = ["n_runs"]
RANK = 20  # of queries, keys and values together more than one panel


def adapter(model: PreTrainedModel, seed: int, *, is_whole: bool, growth: bool = False) -> list[RemovableHandle]:
    """Hangs an adapter on all layers of the model, or on some of each."""
    torch.manual_seed(seed)
    handles = []
    for name, module in model.named_modules():
        if isinstance(module, PackedLinear | PrepackedLinear) and (is_whole or "v_proj" in name or "up_proj" in name):
            magnitude = torch.rand(module.out_features) + 1 if growth else None
            a, b = torch.randn(RANK, module.in_features), torch.randn(module.out_features, RANK)
            pair = LoraPair(a, b, 0.003, magnitude)
            handles.append(module.register_forward_hook(Change.of(pair, module)))
    return handles


LONG = [(37 * i * i + 11 * i + 5) % 256 for i in range(70)]


@pytest.mark.parametrize("prompt", [PROMPT[:6], LONG], ids=["few", "many"])
@pytest.mark.parametrize("is_whole", [True, False])
def test_an_adapter_adds_what_it_adds_layer_by_layer(
    is_whole: bool, prompt: list[int], n_runs: list[tuple[Any, ...]]
) -> None:
    model, pieces = of_blocks(CONFIGS["qwen3"], Kind.Q4_1), [prompt, [7], [8]]
    plain, found = states(model, pieces, n_rows=2), []
    n_runs.clear()
    for seed in (1, 2):
        handles = adapter(model, seed, is_whole=is_whole)
        got, want = (states(model, pieces, n_rows=2, is_shared=flag).float() for flag in (False, True))
        changed = (want - plain.float()).abs().mean()
        assert changed > 0.05 * plain.float().abs().mean()
        assert (got - want).abs().mean() < 0.1 * changed
        found.append(got)
        for handle in handles:
            handle.remove()
    assert len(n_runs) == 6 and not torch.equal(*found)
    assert torch.equal(states(model, pieces, n_rows=2), plain)


def test_adapters_that_take_turns_are_prepared_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model = of_blocks(CONFIGS["llama"], Kind.Q4_1)
    made = watched(Added, "to_few", monkeypatch)
    both = [adapter(model, seed, is_whole=True) for seed in (1, 2)]
    packed = [module for module in model.modules() if isinstance(module, PackedLinear)]
    hooks = [(module, [*module._forward_hooks.items()]) for module in packed]
    found: list[list[Tensor]] = [[], []]
    for turn in range(6):
        for module, items in hooks:
            module._forward_hooks.clear()
            module._forward_hooks.update([items[turn % 2]])
        found[turn % 2].append(states(model, [PROMPT[:12]]))
    assert len(made) == 2 * 4 * 3 and len(both) == 2
    assert all(torch.equal(each[0], other) for each in found for other in each)
    assert not torch.equal(found[0][0], found[1][0])


def test_what_is_no_lora_takes_the_way_of_single_operations(n_runs: list[tuple[Any, ...]]) -> None:
    model = of_blocks(CONFIGS["llama"], Kind.Q4_1)
    taken = model.model.forward.compiled
    for handles in ([], adapter(model, 1, is_whole=True)):
        assert taken.additions(MOST_TOKENS) is not None
        found = taken.additions(MOST_TOKENS + 1), taken.additions(2, is_tree=True)
        assert [each is not None for each in found] == [panels.SUIT] * 2
        for handle in handles:
            handle.remove()
    n_runs.clear()
    plain = states(model, [PROMPT], is_shared=True)
    stranger = [model.model.layers[1].mlp.down_proj.register_forward_hook(lambda _module, _inputs, output: output + 1)]
    for handles in (stranger, adapter(model, 1, is_whole=True, growth=True)):
        assert not torch.equal(states(model, [PROMPT]), plain)
        for handle in handles:
            handle.remove()
    assert not n_runs
