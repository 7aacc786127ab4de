"""Models that do not take our passes are found when they are loaded."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from transformers import AttentionInterface, AttentionMaskInterface, AutoModelForCausalLM, PreTrainedModel
from transformers.masking_utils import sdpa_mask

from llm_app.engine.branches import TreeLayout
from llm_app.engine.forward import ATTENTION, attend
from llm_app.engine.probe import batches_correctly
from tests import tiny

ATTENTIONS = ("forgets_branches", "forgets_base", "forgets_windows")


def careless(
    module: torch.nn.Module, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor,
    mask: torch.Tensor | None, layout: object = None, **kwargs: object,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Attention that decodes as ours does, and leaves out of a tree what its name says."""
    if isinstance(layout, TreeLayout):
        name = module.config._attn_implementation
        if name == "forgets_branches":
            layout._branches.clamp_(max=0)
        if name == "forgets_base" and layout.n_base:
            key, value = (each.clone() for each in (key, value))
            value[:, :, : layout.n_base] = 0
        if name == "forgets_windows":
            kwargs["sliding_window"] = None
    return attend(module, query, key, value, mask, layout, **kwargs)


@pytest.fixture(scope="module", autouse=True)
def careless_attentions() -> Iterator[None]:
    for name in ATTENTIONS:
        AttentionInterface.register(name, careless)
        AttentionMaskInterface.register(name, sdpa_mask)
    yield
    for name in ATTENTIONS:
        AttentionInterface._global_mapping.pop(name)
        AttentionMaskInterface._global_mapping.pop(name)


def with_attention(folder: Path, name: str) -> PreTrainedModel:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation=name).eval()


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_a_model_that_takes_our_passes_is_known_by_it(family: str, request: pytest.FixtureRequest) -> None:
    model = with_attention(request.getfixturevalue(f"tiny_{family}"), ATTENTION)
    assert batches_correctly(model, 512) and batches_correctly(model, 10)


@pytest.mark.parametrize("name", ATTENTIONS)
def test_a_model_whose_trees_would_be_scored_wrongly_is_asked_one_by_one(name: str, tiny_gemma3: Path) -> None:
    assert not batches_correctly(with_attention(tiny_gemma3, name), 512)


def test_a_model_whose_layers_attend_in_chunks_is_asked_one_by_one(tiny_llama: Path) -> None:
    model = with_attention(tiny_llama, ATTENTION)
    model.config.layer_types = ["chunked_attention", "full_attention"]
    assert not batches_correctly(model, 512)
