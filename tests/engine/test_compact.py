"""Passes without transformers' layers around them, against transformers' own forward."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import transformers
from gguf import GGMLQuantizationType as Kind
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PreTrainedModel

from llm_app.engine import compact
from llm_app.engine.adapters import Adapters
from llm_app.engine.branches import Branch, Reading, TreeLayout
from llm_app.engine.forward import ATTENTION, forward
from llm_app.engine.identity import Identity
from llm_app.engine.packed import LEAST_ROWS, WIDE_ROWS, PackedLinear, PrepackedLinear, gated_product, weight_bytes
from llm_app.engine.slots import SlotCache
from tests import tiny
from tests.engine.test_packed import blocks

FAMILIES = ("llama", "mistral", "qwen2", "qwen3")
LONG, SHORT = [5, 9, 200, 31, 7, 77, 150, 3, 42, 8, 19, 64], [11, 12, 13, 14, 15]


def make(family: str, seed: int = 3) -> PreTrainedModel:
    """A random model in float32; every second layer of the Qwens, and all of Mistral, see a short window."""
    torch.manual_seed(seed)
    shared = {
        "vocab_size": 256,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 128,
        "initializer_range": 0.2,
    }
    kinds = ["full_attention", "sliding_attention", "full_attention"]
    window = {"sliding_window": tiny.SLIDING_WINDOW}
    config = {
        "llama": lambda: transformers.LlamaConfig(**shared, attention_bias=True, rope_theta=500.0),
        "mistral": lambda: transformers.MistralConfig(**shared, **window),
        "qwen2": lambda: transformers.Qwen2Config(**shared, **window, use_sliding_window=True, layer_types=kinds),
        "qwen3": lambda: transformers.Qwen3Config(
            **shared, **window, use_sliding_window=True, layer_types=kinds, head_dim=32
        ),
    }[family]()
    return AutoModelForCausalLM.from_config(config, attn_implementation=ATTENTION).eval()


@pytest.fixture(params=FAMILIES)
def model(request: pytest.FixtureRequest) -> Iterator[PreTrainedModel]:
    made = make(request.param)
    assert compact.install(made)
    # A decoder layer of transformers that runs after all would make every comparison below say nothing.
    for layer in made.model.layers:
        layer.register_forward_pre_hook(only_without_layout, with_kwargs=True)
    return made


def only_without_layout(_module: nn.Module, _args: tuple[Tensor, ...], kwargs: dict[str, object]) -> None:
    assert "layout" not in kwargs


@torch.inference_mode()
def expected(model: PreTrainedModel, ids: list[int]) -> Tensor:
    """transformers' logits after every token: (n, vocabulary)."""
    return model(torch.tensor([ids])).logits[0]


def near(got: Tensor, want: Tensor) -> None:
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-4)


def test_rows_at_different_places_get_the_logits_of_transformers(model: PreTrainedModel) -> None:
    cache = SlotCache()
    want = [expected(model, ids) for ids in (LONG, SHORT)]
    near(forward(model, cache, [LONG[:-1], SHORT[:-1]], [0, 0]), torch.stack([want[0][-2], want[1][-2]]))
    step = forward(model, cache, [LONG[-1:], SHORT[-1:]], [len(LONG) - 1, len(SHORT) - 1])
    near(step, torch.stack([want[0][-1], want[1][-1]]))


def test_a_prompt_in_chunks_gets_the_logits_of_transformers(model: PreTrainedModel) -> None:
    cache = SlotCache()
    forward(model, cache, [LONG[:5]], [0])
    near(forward(model, cache, [LONG[5:]], [5])[0], expected(model, LONG)[-1])


def test_trees_get_the_logits_of_transformers(model: PreTrainedModel) -> None:
    reading, base = Reading(model, is_split=True), Branch(None, is_base=True)
    reading.states(TreeLayout(0, [(LONG[:3], [])], model.device), base)
    layout = TreeLayout(3, [(LONG[3:6], [LONG[6:], SHORT]), (SHORT, [])], model.device)
    with torch.inference_mode():
        logits = reading.logits(reading.states(layout, Branch(base)))
    for offset, ids in (
        (layout.tail_offsets[0][0], LONG), (layout.tail_offsets[0][1], LONG[:6] + SHORT),
        (layout.trunk_offsets[1], LONG[:3] + SHORT),
    ):  # fmt: skip
        n_new = len(ids) - (3 if offset == layout.trunk_offsets[1] else 6)
        near(logits[offset : offset + n_new], expected(model, ids)[-n_new:])


def test_tokens_that_are_read_get_the_same_states_and_the_others_none(model: PreTrainedModel) -> None:
    reading, base, read = Reading(model, is_split=True), Branch(None, is_base=True), [2, 5, 6]
    first = TreeLayout(0, [(LONG[:3], [])], model.device)
    first.read_only([])
    all_of_them, few = (TreeLayout(3, [(LONG[3:6], [LONG[6:], SHORT])], model.device) for _ in range(2))
    few.read_only(read)
    with torch.inference_mode():
        assert not reading.states(first, base).any()
        want, got = (reading.states(layout, Branch(base)) for layout in (all_of_them, few))
    near(got[read], want[read])
    assert got.any(-1).nonzero()[:, 0].tolist() == read


def test_an_adapter_changes_these_passes_as_peft_does(model: PreTrainedModel, tmp_path: Path) -> None:
    lora = LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False)
    peft = get_peft_model(AutoModelForCausalLM.from_config(model.config), lora)
    peft.base_model.model.load_state_dict(
        {name.replace("_proj.", "_proj.base_layer."): value for name, value in model.state_dict().items()}, strict=False
    )
    peft.save_pretrained(tmp_path)
    adapters = Adapters(model, Identity("w", "", "fp32", "t", "", "c"))
    adapters.attach(tmp_path, name="a")
    plain = forward(model, SlotCache(), [LONG], [0])
    adapters.use("a")
    with torch.inference_mode():
        want = peft.eval()(torch.tensor([LONG])).logits[0, -1]
    got = forward(model, SlotCache(), [LONG], [0])[0]
    near(got, want)
    assert not torch.allclose(got, plain[0], atol=0.1)


def test_whoever_asks_for_attention_weights_gets_them_from_transformers() -> None:
    made = make("llama")
    compact.install(made)
    made.set_attn_implementation("eager")
    assert len(made(torch.tensor([LONG]), output_attentions=True).attentions) == 3


def test_other_models_keep_their_own_forward(tiny_gemma3: Path, tiny_gpt2: Path) -> None:
    for folder in (tiny_gemma3, tiny_gpt2):
        made = AutoModelForCausalLM.from_pretrained(folder, attn_implementation=ATTENTION)
        own = made.get_decoder().forward
        assert not compact.install(made) and made.get_decoder().forward == own


@pytest.mark.parametrize("number", range(3))
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_model_of_which_one_layer_does_more_than_its_kind_keeps_its_own_forward(
    number: int, dtype: torch.dtype
) -> None:
    made = make("mistral").to(dtype)
    attention = made.model.layers[number].self_attn
    attention.register_forward_hook(lambda _module, _args, out: (0.5 * out[0], out[1]))
    assert not compact.install(made)
    assert "forward" not in vars(made.model)


def test_layers_agree_in_bfloat16_too() -> None:
    assert all(compact.install(make(family).to(torch.bfloat16)) for family in FAMILIES)


def packed(n_out: int, seed: int, *, is_wide: bool = False) -> PackedLinear:
    return PackedLinear(blocks(Kind.Q4_1, (n_out, 256), seed), Kind.Q4_1, is_wide=is_wide)


def test_layers_that_are_joined_give_the_same_bits_side_by_side_and_stand_in_memory_once() -> None:
    parts = [packed(128, 0), packed(64, 1), packed(64, 2)]
    x = torch.randn(1, 256, dtype=torch.bfloat16)
    want = torch.cat([part(x) for part in parts], -1)
    whole = PackedLinear.joined(parts)
    assert whole is not None and torch.equal(whole(x), want)
    assert torch.equal(torch.cat([part(x) for part in parts], -1), want)
    assert weight_bytes(whole, *parts) == weight_bytes(whole)


@pytest.mark.parametrize(
    "parts",
    [[packed(64, 0), PackedLinear(blocks(Kind.Q8_0, (64, 256)), Kind.Q8_0)], [packed(64, 0), nn.Linear(256, 64)]],
)
def test_layers_of_other_kinds_stay_apart(parts: list[nn.Module]) -> None:
    assert PackedLinear.joined(parts) is None


@pytest.mark.parametrize("n_rows", [2, 40])
@torch.inference_mode()
def test_a_gated_product_is_that_of_the_layers_one_after_the_other(n_rows: int) -> None:
    x = torch.randn(n_rows, 256, dtype=torch.bfloat16)
    wide, narrow = ([packed(128, seed, is_wide=is_wide) for seed in (0, 1)] for is_wide in (True, False))
    dense = [PrepackedLinear(torch.randn(128, 256), nn.Parameter(torch.randn(128))) for _ in range(2)]
    assert gated_product(x, *narrow) is None, "there is no dense copy"
    for gate, up in (wide, dense):
        read = x.to(up.copy.dtype)
        got = gated_product(read, gate, up)
        assert (got is None) == (n_rows < (WIDE_ROWS if gate in wide else LEAST_ROWS))
        if got is not None:
            want = (nn.functional.silu(gate(read).float()) * up(read).float()).to(got.dtype)
            torch.testing.assert_close(got, want, rtol=0.02, atol=0.02 * float(want.abs().max()))


@pytest.mark.parametrize("kind", [Kind.Q4_0, Kind.Q4_1, Kind.Q8_0])
def test_a_dense_copy_computes_what_the_blocks_do_and_is_counted(kind: Kind) -> None:
    rows = blocks(kind, (128, 256))
    narrow, wide = PackedLinear(rows, kind), PackedLinear(rows, kind, is_wide=True)
    x = torch.randn(40, 256, dtype=torch.bfloat16)
    want = (narrow.tiles @ x).to(torch.bfloat16)
    assert not torch.equal(wide(x), want), "the copy was not used"
    torch.testing.assert_close(wide(x).float(), want.float(), rtol=0.02, atol=0.02 * float(want.abs().max()))
    assert torch.equal(wide(x[:1]), narrow(x[:1])), "one row goes through the blocks"
    assert weight_bytes(wide) == weight_bytes(narrow) + 128 * 256 * 2


def test_dense_copies_of_joined_layers_are_joined_and_exist_once() -> None:
    parts = [packed(128, 0, is_wide=True), packed(64, 1, is_wide=True)]
    x, before = torch.randn(40, 256, dtype=torch.bfloat16), weight_bytes(*parts)
    want = torch.cat([part(x) for part in parts], -1)
    whole = PackedLinear.joined(parts)
    assert whole is not None
    torch.testing.assert_close(whole(x).float(), want.float(), rtol=0.02, atol=0.02 * float(want.abs().max()))
    assert weight_bytes(whole, *parts) == before
