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

from llm_app.engine.agreement import agrees
from llm_app.engine.branches import TreeLayout
from llm_app.engine.compiled_pass import CompiledPass
from llm_app.engine.forward import ATTENTION, attend
from llm_app.engine.norms import Norm
from llm_app.engine.one_each import OneEach
from llm_app.engine.packed import WIDE_ROWS, PackedLinear, gated_product
from llm_app.engine.slots import Layout

log = logging.getLogger(__name__)
FAMILY = (LlamaModel, MistralModel, Qwen2Model, Qwen3Model)
FIXED = "default", "linear", "llama3", "yarn"  # rotations whose frequencies do not follow the length


def install(model: PreTrainedModel) -> bool:
    """Let passes of ours go through `CompactPass` where the model is of the family and comes out the same."""
    body: Any = model.get_decoder()
    if type(body) not in FAMILY or body.config._attn_implementation != ATTENTION:
        return False
    taken = CompactPass(body)
    if not agrees(body, taken):
        log.warning("the compact pass does not suit this %s model", body.config.model_type)
        return False
    body.forward = taken
    return True


def remove(model: PreTrainedModel) -> None:
    """Undo `install`: the pass and the model hold each other, and garbage collection ends that in no frozen heap."""
    vars(model.get_decoder()).pop("forward", None)


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
        self.norm = Norm(body.norm)
        self.compiled, self.one_each = CompiledPass.of(self.layers, self.norm), OneEach.of(self.layers)

    def __call__(
        self,
        input_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        layout: Layout | TreeLayout | None = None,
        **kwargs: Any,
    ) -> BaseModelOutputWithPast:
        """The last hidden states, (rows, new, size), of tokens (rows, new); 0 where the layout says none is read."""
        if layout is None or position_ids is None or input_ids is None:
            return self._otherwise(
                input_ids=input_ids, position_ids=position_ids, past_key_values=past_key_values, **kwargs
            )
        states = self.last_states(input_ids, position_ids, past_key_values, layout)
        if layout.reads is not None:
            states = states.new_zeros(input_ids.numel(), states.shape[1]).index_copy_(0, layout.reads, states)
        return BaseModelOutputWithPast(
            last_hidden_state=states.view(*input_ids.shape, -1), past_key_values=past_key_values
        )

    def last_states(self, ids: Tensor, positions: Tensor, cache: Any, layout: Layout | TreeLayout) -> Tensor:
        """What the output layer reads, (read tokens, size), of tokens (rows, new) at positions (rows, new)."""
        return self.through(self._embed(ids).flatten(0, 1), positions, cache, layout)

    def through(self, x: Tensor, positions: Tensor, cache: Any, layout: Layout | TreeLayout) -> Tensor:
        """States (tokens, size) through all layers and the last norm: (read tokens, size)."""
        turn, states, is_tree = None, None, isinstance(layout, TreeLayout)
        pairs = None if self.compiled is None else self.compiled.additions(len(x), is_tree=is_tree)
        if self.compiled is not None and pairs is not None:
            return self.compiled(x, self.rotation(positions), cache, layout, pairs)
        if isinstance(layout, Layout):
            turn = self.turn(x, positions)
            states = None if self.one_each is None else self.one_each(x, turn.cos, turn.sin, cache, layout)
        if states is None:
            states = self.through_all(x, turn or self.turn(x, positions), cache, layout, len(positions))
        return self.norm(states)

    def through_all(self, x: Tensor, turn: "_Turn", cache: Any, layout: Layout | TreeLayout, n_rows: int) -> Tensor:
        """States (tokens, size) of so many rows through all layers, one by one: (read tokens, size)."""
        *layers, last = self.layers
        for layer in layers:
            x = layer(x, turn, cache, layout, n_rows)
            if layout.between_layers is not None:
                layout.between_layers()
        return last(x, turn, cache, layout, n_rows, layout.reads)

    def turn(self, x: Tensor, positions: Tensor) -> "_Turn":
        """The rotation of tokens at positions (rows, new), in the dtype of `x`."""
        cos, sin = (each.reshape(positions.numel(), 1, -1) for each in self._rotary(x, positions))
        half = sin.shape[-1] // 2
        return _Turn(cos, torch.cat((-sin[..., :half], sin[..., half:]), -1), half)

    def rotation(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and sines (tokens, half a head's size) in float32."""
        if self._rotary.rope_type in FIXED:
            angles = positions.flatten()[:, None] * self._rotary.inv_freq
            factor = self._rotary.attention_scaling
            return angles.cos() * factor, angles.sin() * factor
        cos, sin = self._rotary(torch.empty(0, dtype=torch.float32), positions)
        half = cos.shape[-1] // 2
        return cos[..., :half].flatten(0, -2).contiguous(), sin[..., :half].flatten(0, -2).contiguous()


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
        output, bias = self.whole.rows(x), self.whole._parameters["bias"]
        if bias is not None:
            output = output + bias.to(output.dtype)
        if not any(part._forward_hooks for part in self._parts):
            return output
        pieces = list(output.split(self._sizes, -1))
        for i, part in enumerate(self._parts):
            for hook in part._forward_hooks.values():
                changed = hook(part, (x,), pieces[i])
                pieces[i] = pieces[i] if changed is None else changed
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
        whole = self.joint.whole
        if whole is None or len(x) >= WIDE_ROWS and not whole.tiles.suits_many:
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
