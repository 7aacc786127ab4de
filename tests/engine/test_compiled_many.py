"""Many tokens through layers whose matrices are unpacked first, against transformers in float64 on the same weights."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
import transformers
from gguf import GGMLQuantizationType as Kind
from torch import Tensor
from transformers import PreTrainedModel

from llm_app.engine import compact, compiled_pass
from llm_app.engine.branches import Branch, Reading, TreeLayout
from llm_app.engine.compiled import panels
from llm_app.engine.compiled.tiles import Tiles
from llm_app.engine.forward import forward
from llm_app.engine.slots import Layout, SlotCache
from tests.engine.test_compiled_adapters import adapter
from tests.engine.test_compiled_pass import CONFIGS, SHARED, error, exact, of_blocks, states, with_threads
from tests.engine.test_packed import KINDS
from tests.running import watched

pytestmark = pytest.mark.skipif(not panels.SUIT, reason="oneDNN is the way for many tokens on this processor")
TEXT = [(37 * i * i + 11 * i + 5) % 256 for i in range(150)]


@pytest.fixture
def n_many(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Grows by one for each pass that goes this way."""
    return watched(compiled_pass.CompiledPass, "_task_of_many", monkeypatch)


@pytest.mark.parametrize("kind", [*KINDS, Kind.BF16], ids=lambda kind: kind.name)
@pytest.mark.parametrize("family", CONFIGS)
def test_many_tokens_get_the_states_of_transformers_as_exactly_as_bfloat16_holds_them(
    family: str, kind: Kind, n_many: list[tuple[Any, ...]]
) -> None:
    model = of_blocks(CONFIGS[family], kind)
    pieces = [TEXT[:97], TEXT[97:140], *([token] for token in TEXT[140:])]
    want = exact(model, pieces)
    n_many.clear()
    got = error(states(model, pieces), want)
    assert len(n_many) == 2, "it took another way"
    other = error(states(model, pieces, is_shared=True), want)
    most = 0.05 if kind == Kind.BF16 else 0.02  # its queries and keys are larger, and attention so much sharper
    assert got < min(most, 1.1 * other), (got, other)


@pytest.mark.parametrize("window", [40, 75])
def test_a_window_of_more_than_a_panel_hides_what_is_behind_it(window: int, n_many: list[tuple[Any, ...]]) -> None:
    model = of_blocks(transformers.MistralConfig(**SHARED, sliding_window=window), Kind.Q4_1)
    n_many.clear()
    assert error(states(model, [TEXT]), exact(model, [TEXT])) < 0.02
    assert len(n_many) == 1, "it took another way"


@pytest.mark.parametrize("n_rows", [13, 14, 22])
@pytest.mark.parametrize("family", CONFIGS)
def test_a_step_of_many_rows_gives_each_what_its_text_gets(
    family: str, n_rows: int, n_many: list[tuple[Any, ...]]
) -> None:
    model, pieces = of_blocks(CONFIGS[family], Kind.Q4_1), [[token] for token in TEXT[:40]]
    n_many.clear()
    assert error(states(model, pieces, n_rows=n_rows), exact(model, pieces)) < 0.02
    assert len(n_many) == len(pieces), "it took another way"


@torch.inference_mode()
def test_rows_that_hold_and_get_more_or_less_get_what_each_gets_alone(n_many: list[tuple[Any, ...]]) -> None:
    model, held, sizes = of_blocks(CONFIGS["llama"], Kind.Q4_1), [6, 3, 20, 1], [30, 12, 25, 31]
    firsts = [TEXT[row : row + n] for row, n in enumerate(held)]
    more = [TEXT[40 + row : 40 + row + n] for row, n in enumerate(sizes)]
    cache = SlotCache()
    n_many.clear()
    forward(model, cache, firsts, [0] * 4)
    logits = forward(model, cache, more, held)
    assert len(n_many) == 2, "it took another way"
    for row, pieces in enumerate(zip(firsts, more, strict=True)):
        want = exact(model, pieces)[-1] @ model.lm_head.weight.double().T
        assert float((logits[row] - want).abs().mean() / want.abs().mean()) < 0.02


def test_any_number_of_threads_and_any_company_give_the_same_bits() -> None:
    model = of_blocks(CONFIGS["qwen3"], Kind.Q4_1)
    found = with_threads(lambda: states(model, [TEXT[:70], TEXT[70:101]]))
    assert all(torch.equal(each, found[0]) for each in found)
    assert torch.equal(states(model, [TEXT[:70], TEXT[70:101]], n_rows=3, first_row=2), found[0])


def test_tokens_that_are_read_are_those_that_come_back() -> None:
    model = of_blocks(CONFIGS["llama"], Kind.Q4_1)
    whole = states(model, [TEXT])
    for reads in ([149], [3, 21, 22, 100], [*range(1, 150, 2)], []):
        layout = Layout(0, [0], len(TEXT), torch.device("cpu"), torch.tensor(reads, dtype=torch.long))
        with torch.inference_mode():
            found = model.model.forward.last_states(torch.tensor([TEXT]), layout.positions, SlotCache(), layout)
        assert torch.equal(found, whole[reads])


def of_trees(
    model: PreTrainedModel, base: Sequence[int], trees: Sequence[tuple[Sequence[int], Sequence[Sequence[int]]]]
) -> tuple[Tensor, TreeLayout]:
    """States of the tokens of trees behind a base, (n, size)."""
    reading, device, branch = Reading(model, is_split=True), torch.device("cpu"), None
    with torch.inference_mode():
        if base:
            branch = Branch(None, is_base=True)
            reading.states(TreeLayout(0, [(base, [])], device), branch)
        layout = TreeLayout(len(base), trees, device)
        return reading.states(layout, Branch(branch)), layout


@pytest.mark.parametrize("family", CONFIGS)
@pytest.mark.parametrize("n_base", [0, 45])
def test_each_branch_of_a_tree_gets_the_states_of_its_text_alone(
    family: str, n_base: int, n_many: list[tuple[Any, ...]]
) -> None:
    model, base = of_blocks(CONFIGS[family], Kind.Q4_1), TEXT[:n_base]
    trees = [
        (TEXT[50:83], [TEXT[1:9], TEXT[4:5], TEXT[20:60]]),
        (TEXT[83:90], []),
        ([], [TEXT[30:37], TEXT[60:64]]),
        (TEXT[3:48], [TEXT[100:103]]),
    ]
    n_many.clear()
    found, layout = of_trees(model, base, trees)
    assert len(n_many) == 1 + bool(base), "it took another way"
    for number, (trunk, tails) in enumerate(trees):
        for tail, start in zip(tails or [[]], layout.tail_offsets[number] or [0], strict=True):
            want = exact(model, [[*base, *trunk, *tail]])[n_base:]
            first = layout.trunk_offsets[number]
            got = torch.cat([found[first : first + len(trunk)], found[start : start + len(tail)]])
            assert error(got, want) < 0.02


def test_a_tree_reads_only_what_is_asked_for() -> None:
    model = of_blocks(CONFIGS["mistral"], Kind.Q4_1)
    trees = [(TEXT[50:83], [TEXT[1:9], TEXT[4:5]]), (TEXT[83:99], [TEXT[20:60]])]
    whole, layout = of_trees(model, [], trees)
    layout.read_only([2, 33, 80])
    with torch.inference_mode():
        found = Reading(model, is_split=True).states(layout, Branch(None))
    assert torch.equal(found[[2, 33, 80]], whole[[2, 33, 80]])


@pytest.mark.parametrize("name", ["_task", "_task_of_many", "sees"])
def test_a_pass_that_computes_otherwise_is_noticed_when_the_model_is_loaded(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = of_blocks(CONFIGS["llama"], Kind.Q4_1)
    compact.remove(model)
    function = "_task_of_many" if name == "sees" else name
    made = getattr(compiled_pass.CompiledPass, function)

    def other(*arguments: Any) -> Any:
        task, held = made(*arguments)
        if name == "sees":  # as if a tree were a text
            task["sees"] = 0
        else:
            task["scale"] *= 3
        return task, held

    monkeypatch.setattr(compiled_pass.CompiledPass, function, other)
    assert not compact.install(model)
    monkeypatch.undo()
    assert compact.install(model)


@pytest.mark.parametrize("shape", [(96, 64), (32, 32), (1536, 576)])
@pytest.mark.parametrize("n_tokens", [13, 20, 24, 33, 44, 61])
def test_a_dense_matrix_as_tiles_multiplies_as_it_did(shape: tuple[int, int], n_tokens: int) -> None:
    torch.manual_seed(n_tokens)
    weight, x = torch.randn(shape).bfloat16(), torch.randn(n_tokens, shape[1]).bfloat16()
    tiles = Tiles.of_dense(weight)
    assert torch.equal(tiles.dense(), weight.float())
    want = x.double() @ weight.double().T
    torch.testing.assert_close(tiles.times_many(x).double(), want, rtol=2**-8, atol=1e-3)
    torch.testing.assert_close((tiles @ x).double(), want, rtol=1e-5, atol=1e-3)
    halves = tiles.split([shape[0] // 2] * 2)
    assert torch.equal(Tiles.joined(halves).dense(), weight.float())


def test_keys_are_taken_by_what_is_seen_however_large_scores_are() -> None:
    """Queries of 300 standard deviations: the softmax is one key's, and none that is hidden."""
    model = of_blocks(CONFIGS["mistral"], Kind.BF16)
    for layer in model.model.layers:
        layer.self_attn.q_proj.tiles.data.view(torch.bfloat16).mul_(300)
    got = states(model, [TEXT[:60]])
    assert torch.isfinite(got).all()
    want = exact(model, [TEXT[:60]])
    assert error(got, want) < 1.1 * error(states(model, [TEXT[:60]], is_shared=True), want) < 0.2


@pytest.mark.parametrize(("n_queries", "n_keys", "size"), [(4, 4, 32), (6, 2, 32), (7, 1, 64), (2, 1, 128), (5, 1, 32)])
def test_any_number_of_queries_shares_a_key_of_any_size(n_queries: int, n_keys: int, size: int) -> None:
    sizes = {"num_attention_heads": n_queries, "num_key_value_heads": n_keys, "head_dim": size,
             "hidden_size": 32 * n_queries}  # fmt: skip
    model = of_blocks(transformers.LlamaConfig(**SHARED | sizes), Kind.Q4_1)
    pieces = [TEXT[:61], TEXT[61:99], *([token] for token in TEXT[99:103])]
    assert model.model.forward.compiled.additions(97) is not None
    assert error(states(model, pieces), exact(model, pieces)) < 0.02


@pytest.mark.parametrize(("n_queries", "n_keys", "size"), [(4, 2, 80), (4, 4, 48)])
def test_other_heads_go_another_way_and_come_out_the_same(n_queries: int, n_keys: int, size: int) -> None:
    sizes = {"num_attention_heads": n_queries, "num_key_value_heads": n_keys, "head_dim": size,
             "hidden_size": 32 * n_queries}  # fmt: skip
    model = of_blocks(transformers.LlamaConfig(**SHARED | sizes), Kind.Q4_1)
    taken = model.model.forward.compiled
    assert taken is None or taken.additions(97) is None
    assert error(states(model, [TEXT[:99]]), exact(model, [TEXT[:99]])) < 0.03


def test_an_adapter_adds_to_trees_what_it_adds_layer_by_layer(n_many: list[tuple[Any, ...]]) -> None:
    model = of_blocks(CONFIGS["qwen2"], Kind.Q4_1)
    trees = [(TEXT[50:83], [TEXT[1:9], TEXT[4:5]]), (TEXT[83:99], [TEXT[20:60]])]
    plain, layout = of_trees(model, TEXT[:30], trees)
    adapter(model, 1, is_whole=True)
    n_many.clear()
    got, _ = of_trees(model, TEXT[:30], trees)
    assert len(n_many) == 2, "it took another way"
    taken = model.model.forward
    compiled, taken.compiled = taken.compiled, None
    want, _ = of_trees(model, TEXT[:30], trees)
    taken.compiled = compiled
    changed = (want - plain).float().abs().mean()
    assert changed > 0.05 * plain.float().abs().mean() and (got - want).float().abs().mean() < 0.1 * changed


def test_models_that_are_made_meanwhile_change_nothing() -> None:
    """transformers sets torch's default dtype, of all threads, while it makes a model."""
    model = of_blocks(CONFIGS["qwen3"], Kind.Q4_1)
    want = states(model, [TEXT[:70], TEXT[70:75]])
    torch.set_default_dtype(torch.bfloat16)
    try:
        got = states(model, [TEXT[:70], TEXT[70:75]])
        linear = model.model.layers[0].mlp.up_proj
        ones = torch.ones(40, 256, dtype=torch.bfloat16)
        assert torch.allclose(linear(ones)[0].float(), linear(ones[:1])[0].float(), rtol=0.02, atol=0.1)
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(got, want)
