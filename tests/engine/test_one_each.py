"""One token of each of several rows as one function a layer, against the layers that many tokens go through."""

from typing import Any

import pytest
import torch
import transformers
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PreTrainedModel

from llm_app.engine import attention, compact
from llm_app.engine.forward import ATTENTION
from llm_app.engine.one_each import OneEach
from llm_app.engine.packed import LEAST_ROWS, PrepackedLinear
from llm_app.engine.slots import Layout, SlotCache
from tests.engine.test_compiled_adapters import adapter
from tests.engine.test_compiled_pass import CONFIGS

PROMPTS = [[5, 9, 200, 31, 7, 77], [150, 3, 42, 8, 19, 64], [1, 2, 3, 4, 5, 6], [90, 80, 70, 60, 50, 40]]
EVEN, UNEVEN = [6, 6, 6, 6], [6, 3, 5, 1]  # tokens of them that the rows hold
MANY = 7 * UNEVEN


def wide(config: transformers.PreTrainedConfig) -> PreTrainedModel:
    """A random model with matrices in oneDNN's order."""
    torch.manual_seed(5)
    model = AutoModelForCausalLM.from_config(config, attn_implementation=ATTENTION, dtype=torch.bfloat16).eval()
    for layer in model.model.layers:
        for part in (layer.self_attn, layer.mlp):
            for name, linear in list(part.named_children()):
                if isinstance(linear, nn.Linear):
                    setattr(part, name, PrepackedLinear(linear.weight.detach()))
        for norm in layer.modules():
            if type(norm).__name__.endswith("RMSNorm"):
                nn.init.normal_(norm.weight, 1.0, 0.3)
    assert compact.install(model)
    return model


@torch.inference_mode()
def states(
    model: PreTrainedModel, held: list[int], n_tokens: int, *, is_shared: bool, first_row: int = 0
) -> list[Tensor]:
    """Of tokens that come one a row at a time, after prompts of which the rows hold so many tokens."""
    taken, cache, found = model.model.forward, SlotCache(), []
    rows = range(len(held))
    pieces = [[PROMPTS[row % 4] for row in rows], *([[(7 * i + row) % 256] for row in rows] for i in range(n_tokens))]
    starts = [0] * len(held)
    for piece in pieces:
        cache.layout = layout = Layout(first_row, starts, len(piece[0]), torch.device("cpu"))
        x = model.model.embed_tokens(torch.tensor(piece).flatten())
        if is_shared:
            found.append(taken.norm(taken.through_all(x, taken.turn(x, layout.positions), cache, layout, len(held))))
        else:
            found.append(taken.through(x, layout.positions, cache, layout))
        starts = list(held) if len(piece[0]) > 1 else [start + 1 for start in starts]
    return found[1:]


@pytest.fixture
def n_runs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many states came out of the function for one token of each."""
    counted: list[int] = []
    plain = OneEach.__call__

    def counting(self: OneEach, *arguments: Any) -> Tensor | None:
        result = plain(self, *arguments)
        counted.extend([1] * (result is not None))
        return result

    monkeypatch.setattr(OneEach, "__call__", counting)
    return counted


@pytest.mark.parametrize("held", [EVEN, UNEVEN, MANY], ids=["even", "uneven", "many"])
@pytest.mark.parametrize("family", CONFIGS)
def test_a_token_of_each_row_gets_what_it_gets_among_many(
    family: str, held: list[int], n_runs: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention, "MANY_KEYS", 100)  # the many rows get there, the others do not
    model = wide(CONFIGS[family])
    for first_row in (0, 2):
        n_runs.clear()
        alone = states(model, held, 20, is_shared=False, first_row=first_row)
        assert len(n_runs) == 20, "it took the other way"
        want = states(model, held, 20, is_shared=True, first_row=first_row)
        assert len(n_runs) == 20
        assert all(torch.equal(a, b) for a, b in zip(alone, want, strict=True))


@pytest.mark.parametrize("is_whole", [True, False])
def test_an_adapter_adds_to_a_token_of_each_row_what_it_adds_among_many(is_whole: bool, n_runs: list[int]) -> None:
    model = wide(CONFIGS["qwen3"])
    plain = states(model, UNEVEN, 3, is_shared=True)
    n_runs.clear()
    handles = adapter(model, 1, is_whole=is_whole)
    alone, want = (states(model, UNEVEN, 3, is_shared=flag) for flag in (False, True))
    assert len(n_runs) == 3
    for a, b, without in zip(alone, want, plain, strict=True):  # sums in another order, of which bfloat16 shows few
        changed = (b - without).float().abs().mean()
        assert changed > 0 and (a - b).float().abs().mean() < 0.02 * changed
    for handle in handles:
        handle.remove()
    assert all(map(torch.equal, states(model, UNEVEN, 3, is_shared=False), plain))


def test_the_step_runs_without_python() -> None:
    wide(CONFIGS["llama"])
    assert isinstance(OneEach._run, torch.jit.ScriptFunction)


def test_few_rows_what_is_no_lora_and_a_cache_that_has_to_grow_take_the_way_of_many(
    n_runs: list[int],
) -> None:
    model = wide(CONFIGS["llama"])
    n_runs.clear()
    states(model, EVEN, 260, is_shared=False)
    assert len(n_runs) == 259, "the cache grew once"
    n_runs.clear()
    states(model, EVEN[: LEAST_ROWS - 1], 2, is_shared=False)
    model.model.layers[1].mlp.down_proj.register_forward_hook(lambda _module, _inputs, output: output + 1)
    states(model, EVEN, 2, is_shared=False)
    assert not n_runs


@pytest.mark.parametrize(("has_biases", "dtype"), [(True, torch.bfloat16), (False, torch.float32)])
def test_biases_and_float32_have_no_such_way(has_biases: bool, dtype: torch.dtype) -> None:
    config = transformers.LlamaConfig(**CONFIGS["llama"].to_dict() | {"attention_bias": has_biases})
    model = AutoModelForCausalLM.from_config(config, attn_implementation=ATTENTION, dtype=dtype).eval()
    for layer in model.model.layers:
        for part in (layer.self_attn, layer.mlp):
            for name, linear in list(part.named_children()):
                if isinstance(linear, nn.Linear):
                    setattr(part, name, PrepackedLinear(linear.weight.detach(), linear.bias))
    assert compact.install(model)
    assert model.model.forward.one_each is None
