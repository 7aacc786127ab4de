"""The pass of a Llama-like model (Llama, Mistral, Qwen 2 and 3) without what transformers does around each operation.

One token of a small model is a few hundred operations of some microseconds each; a transformers layer adds as much
again in Python and in operations that could be one. The layers here are the model's own, so are their weights, and
the adapters that hang on them. Only passes with a layout of ours come this way; all others, `generate` and whoever
asks for attention weights, get the forward of transformers, with which this one is compared at each load.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import LlamaModel, MistralModel, PreTrainedModel, Qwen2Model, Qwen3Model
from transformers.activations import SiLUActivation
from transformers.cache_utils import Cache
from transformers.modeling_outputs import BaseModelOutputWithPast
from transformers.models.mistral.modeling_mistral import MistralAttention

from llm_app.engine.branches import TreeLayout
from llm_app.engine.forward import ATTENTION, Layout, SlotCache, attend
from llm_app.engine.one_each import OneEach
from llm_app.engine.one_token import Norm, OneToken
from llm_app.engine.packed import WIDE_ROWS, PackedLinear, gated_product

log = logging.getLogger(__name__)
FAMILY = (LlamaModel, MistralModel, Qwen2Model, Qwen3Model)
WITHIN = 0.1  # mean error of a layer's numbers, of what it changes; measured 0.005 to 0.02 in bf16, forgotten masks 0.5


def install(model: PreTrainedModel) -> bool:
    """Let passes of ours go through `CompactPass` where the model is of the family and comes out the same."""
    body: Any = model.get_decoder()
    if type(body) not in FAMILY or body.config._attn_implementation != ATTENTION:
        return False
    taken = CompactPass(body)
    if not _agrees(body, taken):
        log.warning("the compact pass does not suit this %s model", body.config.model_type)
        return False
    body.forward = taken
    return True


def remove(model: PreTrainedModel) -> None:
    """Undo `install`: the pass and the model hold each other, and garbage collection ends that in no frozen heap."""
    vars(model.get_decoder()).pop("forward", None)


@torch.inference_mode()
def _agrees(body: Any, taken: "CompactPass") -> bool:
    """Whether each layer does to its input what transformers' does.

    Layer by layer, since what bfloat16 rounds in one layer is far more after thirty. The error of a number counts
    relative to what the layer changes in its token, and to what bfloat16 can hold of the number itself.
    """
    n_tokens = min(max(6, (getattr(body.config, "sliding_window", None) or 0) + 3), 64)
    ids = torch.tensor([[(7 * i + 3) % body.config.vocab_size for i in range(n_tokens)]], device=body.device)
    seen: list[tuple[Tensor, Tensor]] = []
    handles = [layer.register_forward_hook(lambda _, x, out: seen.append((x[0][0], out[0]))) for layer in body.layers]
    body(input_ids=ids, use_cache=False)
    for handle in handles:
        handle.remove()
    layout, cache = Layout(0, [0], n_tokens, body.device), SlotCache()
    cache.layout = layout
    turn = taken.turn(seen[0][0][None], layout.positions)
    for layer, (x, out) in zip(taken.layers, seen, strict=True):
        error = (layer(x, turn, cache, layout, 1) - out).float().abs()
        change = (out - x).float().pow(2).mean(-1, keepdim=True).sqrt()
        if float((error / (change + out.float().abs() / 64 + 1e-9)).mean()) > WITHIN:
            return False
    # One more token, alone and of rows with others: the ways of single tokens against what was just compared.
    return all(_goes_alone(taken, seen[0][0], n_tokens, n_rows) for n_rows in (1, WIDE_ROWS))


def _goes_alone(taken: "CompactPass", x: Tensor, n_before: int, n_rows: int) -> bool:
    """Whether a token of each of some rows, behind others, gets what the way of many tokens gives."""
    cache, found = SlotCache(), []
    for n_held, n_new, is_shared in ((0, n_before, True), (n_before, 1, True), (n_before, 1, False)):
        cache.layout = layout = Layout(0, [n_held] * n_rows, n_new, x.device)
        read = x[:n_new].repeat(n_rows, 1)
        turn = taken.turn(read[None], layout.positions)
        found.append(taken.through(read, turn, cache, layout, n_rows, is_shared=is_shared).float())
    _, want, alone = found
    return bool(torch.allclose(alone, want, rtol=0.05, atol=0.05 * float(want.abs().max())))


def joined(model: PreTrainedModel) -> list[nn.Module]:
    """Layers that the pass made of several of the model's."""
    taken = vars(model.get_decoder()).get("forward")
    if not isinstance(taken, CompactPass):
        return []
    wholes = [joint.whole for layer in taken.layers for joint in layer.joints if joint.n_parts > 1]
    return [whole for whole in wholes if whole is not None]


class CompactPass:
    """Takes the place of the body's `forward`."""

    def __init__(self, body: Any) -> None:
        self._otherwise: Callable[..., Any] = body.forward
        self._embed, self._rotary = body.embed_tokens, body.rotary_emb
        self.layers = [_Layer(layer, number) for number, layer in enumerate(body.layers)]
        self._norm = Norm(body.norm)
        self._ways = [way for way in (OneToken.of(self.layers), OneEach.of(self.layers)) if way is not None]

    def __call__(
        self,
        input_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        layout: Layout | TreeLayout | None = None,
        **kwargs: Any,
    ) -> BaseModelOutputWithPast:
        """The last hidden states, (rows, new, size), of tokens (rows, new); 0 where the layout says none is read."""
        if layout is None or position_ids is None:
            return self._otherwise(
                input_ids=input_ids, position_ids=position_ids, past_key_values=past_key_values, **kwargs
            )
        x = self._embed(input_ids)
        rows, n_new, size = x.shape
        turn = self.turn(x, position_ids)
        x = x.view(rows * n_new, size)
        states = self._norm(self.through(x, turn, past_key_values, layout, rows))
        if layout.reads is not None:
            states = states.new_zeros(x.shape).index_copy_(0, layout.reads, states)
        return BaseModelOutputWithPast(
            last_hidden_state=states.view(rows, n_new, size), past_key_values=past_key_values
        )

    def through(
        self, x: Tensor, turn: "_Turn", cache: Any, layout: Layout | TreeLayout, rows: int, *, is_shared: bool = False
    ) -> Tensor:
        """States (tokens, size) through all layers, where the layout tells what is read those (read tokens, size).

        `is_shared`: a token of each row, too, goes the way of many.
        """
        if isinstance(layout, Layout) and layout.n_new == 1 and not is_shared:
            for way in self._ways:
                states = way(x, turn.cos, turn.sin, cache, layout)
                if states is not None:
                    return states
        *layers, last = self.layers
        for layer in layers:
            x = layer(x, turn, cache, layout, rows)
            if layout.between_layers is not None:
                layout.between_layers()
        return last(x, turn, cache, layout, rows, layout.reads)

    def turn(self, x: Tensor, positions: Tensor) -> "_Turn":
        """The rotation of tokens at positions (rows, new), in the dtype of `x`."""
        cos, sin = (each.reshape(positions.numel(), 1, -1) for each in self._rotary(x, positions))
        half = sin.shape[-1] // 2
        return _Turn(cos, torch.cat((-sin[..., :half], sin[..., half:]), -1), half)


@dataclass(frozen=True)
class _Turn:
    """Rotary positions of the tokens of a pass: (tokens, 1, size) each."""

    cos: Tensor
    sin: Tensor  # negative where the first half of a head takes from the second
    half: int

    def __call__(self, heads: Tensor) -> Tensor:
        """Queries or keys (tokens, heads, size), turned."""
        return torch.addcmul(heads * self.cos, heads.roll(self.half, -1), self.sin)


class _Joint:
    """Linear layers that read the same input, or one; a single product where the weights can stand in one matrix."""

    def __init__(self, *parts: nn.Linear, with_copies: bool = True) -> None:
        self._parts = parts
        self.whole = PackedLinear.joined(parts, with_copies=with_copies)
        self._sizes = [part.out_features for part in parts]
        self.n_parts = len(parts)

    def __call__(self, x: Tensor) -> Tensor:
        """(tokens, in) to their outputs side by side, with what adapters add to each."""
        if self.whole is None:
            outputs = [part(x) for part in self._parts]
            return outputs[0] if len(outputs) == 1 else torch.cat(outputs, -1)
        output = self.whole.rows(x)
        if not any(part._forward_hooks for part in self._parts):
            return output
        pieces = list(output.split(self._sizes, -1))
        for i, part in enumerate(self._parts):
            for hook in part._forward_hooks.values():
                pieces[i] = hook(part, (x,), pieces[i])
        return torch.cat(pieces, -1)


class _Gated:
    """What goes into the last product of a layer: act(gate) * up."""

    def __init__(self, gated: Any) -> None:
        self._gate, self._up = gated.gate_proj, gated.up_proj
        # Of a module's call and of the operation in it, the call takes longer.
        self._act, self.is_silu = gated.act_fn.forward, isinstance(gated.act_fn, nn.SiLU | SiLUActivation)
        self.joint = _Joint(self._gate, self._up, with_copies=False)

    def __call__(self, x: Tensor) -> Tensor:
        """(tokens, size) to (tokens, inner size)."""
        if self.is_silu and not self._gate._forward_hooks and not self._up._forward_hooks:
            output = gated_product(x, self._gate, self._up)
            if output is not None:
                return output
        if self.joint.whole is None or len(x) >= WIDE_ROWS:
            return self._act(self._gate(x)) * self._up(x)
        gate, up = self.joint(x).chunk(2, -1)
        return self._act(gate) * up


class _Layer:
    """One layer: attention, then the gated product."""

    def __init__(self, layer: Any, number: int) -> None:
        attention, gated = layer.self_attn, layer.mlp
        first = attention.q_proj, attention.k_proj, attention.v_proj
        # On which adapters hang.
        self.modules: list[nn.Linear] = [
            *first, attention.o_proj, gated.gate_proj, gated.up_proj, gated.down_proj
        ]  # fmt: skip
        self._number, self._attention = number, attention
        size = attention.head_dim
        self.counts = (attention.q_proj.out_features // size, attention.k_proj.out_features // size, size)
        self.window, self.scale = _window(attention), attention.scaling
        self._heads, self._out, self._down = _Joint(*first), _Joint(attention.o_proj), _Joint(gated.down_proj)
        self._gated = _Gated(gated)
        self.is_silu, self.joints = self._gated.is_silu, (self._heads, self._out, self._gated.joint, self._down)
        self.norms = (Norm(layer.input_layernorm), Norm(layer.post_attention_layernorm))
        has_norms = hasattr(attention, "q_norm")
        self.head_norms = (Norm(attention.q_norm), Norm(attention.k_norm)) if has_norms else None

    def __call__(
        self,
        x: Tensor,
        turn: _Turn,
        cache: Cache,
        layout: Layout | TreeLayout,
        n_rows: int,
        reads: Tensor | None = None,
    ) -> Tensor:
        """States (tokens, size) of so many rows of tokens to the next ones; of the tokens `reads` alone if given."""
        before_attention, before_gate = self.norms
        seen = self._attend(before_attention(x), turn, cache, layout, n_rows)
        if reads is not None:
            x, seen = x[reads], seen[reads]
            if not len(reads):
                return x
        x = x + self._out(seen)
        return x + self._down(self._gated(before_gate(x)))

    def _attend(self, x: Tensor, turn: _Turn, cache: Cache, layout: Layout | TreeLayout, n_rows: int) -> Tensor:
        n_tokens, (n_queries, n_keys, size) = len(x), self.counts
        heads = self._heads(x).view(n_tokens, -1, size)
        turned = heads[:, : n_queries + n_keys]
        if self.head_norms is not None:
            parts = turned.tensor_split([n_queries], 1)
            turned = torch.cat([norm(part) for norm, part in zip(self.head_norms, parts, strict=True)], 1)
        turned = turn(turned)
        query, key, value = (
            part.view(n_rows, -1, part.shape[1], size).transpose(1, 2)
            for part in (turned[:, :n_queries], turned[:, n_queries:], heads[:, n_queries + n_keys :])
        )
        keys, values = cache.update(key, value, self._number)
        out, _ = attend(
            self._attention, query, keys, values, None, layout, scaling=self.scale, sliding_window=self.window
        )
        return out.reshape(n_tokens, -1)


def _window(attention: Any) -> int | None:
    """The sliding window of this layer: Mistral says it for all layers, Qwen for each."""
    of_all = attention.config.sliding_window if isinstance(attention, MistralAttention) else None
    window: int | None = getattr(attention, "sliding_window", of_all)
    return window
