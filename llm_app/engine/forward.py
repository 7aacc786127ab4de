"""One forward pass for many requests that stand at different positions.

Each request owns a row of a key/value cache. A pass takes the same number of new tokens for every row of a contiguous
range (shorter ones are padded on the right), writes their keys and values at the row's own position and attends to
what the row holds.

The model is any transformers model whose attention goes through the attention interface. Whether the result is right
is not assumed: engine/probe.py compares with the model's own forward when the model is loaded.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from llm_app.engine import attention
from llm_app.engine.branches import TreeLayout
from llm_app.engine.slots import Layout, SlotCache

ATTENTION = "proofbench"


def attend(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    layout: Layout | TreeLayout | None = None,
    **kwargs: Any,
) -> tuple[Tensor, Tensor | None]:
    """Scaled dot-product attention under a layout; without one, what transformers does.

    Query (rows, heads, new, size), key and value (rows, key heads, length, size); gives (rows, new, heads, size).
    """
    if layout is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)
    if kwargs.get("softcap") is not None or kwargs.get("s_aux") is not None:
        raise NotImplementedError("attention with soft capping or sinks is not batched here")
    window, scale = kwargs.get("sliding_window"), kwargs.get("scaling")
    if isinstance(layout, TreeLayout):
        return layout.attend(query, key, value, window, scale), None
    is_causal = layout.is_causal(window)
    mask = None if is_causal else layout.mask(window)
    return attention.attend(query, key, value, mask, scale, is_causal=is_causal).transpose(1, 2), None


AttentionInterface.register(ATTENTION, attend)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)


@torch.inference_mode()
def forward(
    model: PreTrainedModel,
    cache: SlotCache,
    tokens: Sequence[Sequence[int]],
    starts: Sequence[int],
    first_row: int = 0,
    between_layers: Callable[[], None] | None = None,
) -> Tensor:
    """Logits after the last token of each row: (rows, vocabulary), float32.

    `tokens[i]` are the new tokens of cache row `first_row + i`, which holds `starts[i]` already. What `between_layers`
    raises ends the pass.
    """
    device = model.device
    n_new = max(len(row) for row in tokens)
    keep = torch.tensor([[len(row) - 1] for row in tokens], device=device)
    ends = None if n_new == 1 else keep[:, 0] + n_new * torch.arange(len(tokens), device=device)
    layout = Layout(first_row, starts, n_new, device, ends, between_layers)
    body: nn.Module = model.get_decoder()
    last_states = getattr(vars(body).get("forward"), "last_states", None)
    if last_states is None or any(each._forward_pre_hooks or each._forward_hooks for each in (model, body)):
        return _run(model, cache, tokens, layout, keep)[:, 0].float()
    states = last_states(*_inputs(model, cache, tokens, layout), cache, layout)
    logits: Tensor = model.get_output_embeddings()(states)
    return logits.float()


@torch.inference_mode()
def forward_all(model: PreTrainedModel, cache: SlotCache, tokens: Sequence[int], start: int) -> Tensor:
    """Logits after every new token of cache row 0: (new, vocabulary), float32."""
    layout = Layout(0, [start], len(tokens), model.device)
    return _run(model, cache, [tokens], layout, 0)[0].float()


def _run(
    model: PreTrainedModel, cache: SlotCache, tokens: Sequence[Sequence[int]], layout: Layout, keep: Tensor | int
) -> Tensor:
    ids, positions = _inputs(model, cache, tokens, layout)
    return model(
        input_ids=ids,
        position_ids=positions,
        # A mask of four dimensions is taken as it is; this one is never read.
        attention_mask=torch.empty(1, 1, 1, 1, device=layout.device),
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=keep,
        layout=layout,
    ).logits


def _inputs(
    model: PreTrainedModel, cache: SlotCache, tokens: Sequence[Sequence[int]], layout: Layout
) -> tuple[Tensor, Tensor]:
    """Tokens and their positions, (rows, new)."""
    ids = torch.tensor([[*row, *[0] * (layout.n_new - len(row))] for row in tokens], device=layout.device)
    # Padding may stand beyond the last position a model knows; its output is not read.
    last = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    cache.layout = layout
    return ids, layout.positions if last is None else layout.positions.clamp(max=last - 1)
