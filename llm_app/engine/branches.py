"""Passes whose rows continue rows of an earlier pass, without changing it.

Many choices branch off one context, many questions off the same examples: the earlier keys and values are copied into
the rows of the next pass, which lie in memory that is used again and again.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.cache_utils import Cache

from llm_app.engine.forward import Layout

HEAD_ROWS = 128  # positions whose logits are held at once


class Scratch:
    """Memory for keys and values by name, layer and kind; it grows to the largest pass and starts as zeros.

    What an earlier pass left is masked, but must be finite: 0 times NaN is NaN.
    """

    def __init__(self) -> None:
        self._flat: dict[tuple[str, int, str], Tensor] = {}

    def take(self, key: tuple[str, int, str], like: Tensor, shape: tuple[int, ...]) -> Tensor:
        """A tensor of that shape; whatever had the same key before is overwritten."""
        n = 1
        for size in shape:
            n *= size
        flat = self._flat.get(key)
        if flat is None or flat.numel() < n:
            self._flat.pop(key, None)
            flat = self._flat[key] = like.new_zeros(n)
        return flat[:n].view(shape)


class Branch(Cache):
    """Keys and values of one pass: what its rows inherit, and what they add.

    Row i continues row `sources[i]` of the parent after `layout.starts[i]` tokens; without a parent all start at 0.
    """

    def __init__(
        self, layout: Layout, scratch: Scratch, name: str, parent: "Branch | None", sources: Sequence[int]
    ) -> None:
        super().__init__(layers=[])
        self.layout = layout
        self._scratch, self._name = scratch, name
        self._parent = parent
        self._n_inherited = max(layout.starts)
        # One parent row for all is read in place; else the rows are gathered.
        self._source = torch.tensor(sources, device=layout.device) if len(set(sources)) > 1 else sources[0]
        self._held: dict[tuple[int, str], Tensor] = {}

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Write the new keys and values behind the inherited ones, give all."""
        return self._extended(layer_idx, "keys", key_states), self._extended(layer_idx, "values", value_states)

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Passes give positions themselves; models ask all the same."""
        return 0

    def get_mask_sizes(self, query_length: int, layer_idx: int) -> tuple[int, int]:
        """As above: passes bring their own masks."""
        return query_length, 0

    def _extended(self, layer: int, kind: str, new: Tensor) -> Tensor:
        if self._parent is None:
            self._held[layer, kind] = new
            return new
        rows, heads, n_new, size = new.shape
        shape = (rows, heads, self.layout.length, size)
        held = self._scratch.take((self._name, layer, kind), new, shape)
        before = self._parent._held[layer, kind][self._source, :, : self._n_inherited]
        held[:, :, : self._n_inherited] = before
        starts = self.layout.starts
        if min(starts) == max(starts):
            held[:, :, starts[0] : starts[0] + n_new] = new
        else:
            held[self.layout.rows, :, self.layout.positions] = new.transpose(1, 2)
        self._held[layer, kind] = held
        return held


class Reading:
    """A model as its two parts: tokens to hidden states, and hidden states to logits where they are read."""

    def __init__(self, model: PreTrainedModel) -> None:
        self._model = model
        self._body: nn.Module = model.get_decoder()
        self._head: Callable[[Tensor], Tensor] = model.get_output_embeddings()
        self._is_split = self._splits()

    def states(self, tokens: Sequence[Sequence[int]], branch: Branch) -> Tensor:
        """What the output layer reads after each new token: (rows, new, size); logits where the parts do not split."""
        layout = branch.layout
        ids = torch.zeros(len(tokens), layout.n_new, dtype=torch.long)
        for i, row in enumerate(tokens):
            ids[i, : len(row)] = torch.tensor(row)
        last = getattr(self._model.config.get_text_config(), "max_position_embeddings", None)
        positions = layout.positions if last is None else layout.positions.clamp(max=last - 1)
        arguments = {
            "input_ids": ids.to(layout.device),
            "position_ids": positions,
            "attention_mask": torch.empty(1, 1, 1, 1, device=layout.device),  # of four dimensions: taken as it is
            "past_key_values": branch,
            "use_cache": True,
            "layout": layout,
        }
        if self._is_split:
            return self._body(**arguments).last_hidden_state
        return self._model(**arguments).logits

    def logprobs(self, states: Tensor, targets: Tensor) -> tuple[list[float], list[bool]]:
        """Natural-log probability of each target, and whether none is more likely; computed in float32."""
        values: list[float] = []
        greedy: list[bool] = []
        for part, wanted in zip(states.split(HEAD_ROWS), targets.split(HEAD_ROWS), strict=True):
            logits = (self._head(part) if self._is_split else part).float()
            chosen = logits.gather(-1, wanted[:, None])[:, 0]
            values += (chosen - logits.logsumexp(-1)).tolist()
            greedy += (chosen >= logits.amax(-1)).tolist()
        return values, greedy

    @torch.inference_mode()
    def _splits(self) -> bool:
        """Whether the output layer is all that stands between hidden states and logits: some models scale or cap."""
        ids = torch.tensor([[0, 1, 2]], device=self._model.device)
        try:
            hidden = self._body(input_ids=ids, use_cache=False).last_hidden_state
            return torch.equal(self._head(hidden), self._model(input_ids=ids, use_cache=False).logits)
        except (AttributeError, TypeError, RuntimeError):
            return False
