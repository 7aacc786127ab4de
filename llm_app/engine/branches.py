"""One forward pass over trees of tokens: what inputs share stands in it once, and nothing is padded.

All tokens of all trees lie in one row, through which linear layers go at full speed. Attention takes them apart again:
a token sees the base, the trunk of its tree and what stands before it on its own branch.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.cache_utils import Cache

from llm_app.engine import attention
from llm_app.engine.failures import is_out_of_memory
from llm_app.engine.pace import use_all_threads

# Positions whose logits are held at once: few stay in the processor's cache; float32 gains more from a large product.
HEAD_ROWS, HEAD_ROWS_FP32 = 128, 512


@dataclass
class TreeLayout:
    """Where the tokens of one pass stand: trees of (trunk, tails), all after the same `n_base` tokens."""

    n_base: int
    trees: Sequence[tuple[Sequence[int], Sequence[Sequence[int]]]]
    device: torch.device
    reads: Tensor | None = field(init=False, default=None)  # (m,) tokens whose last states are read; None: all
    between_layers: Callable[[], None] | None = None  # called there where the model's passes are ours
    ids: Tensor = field(init=False)  # (1, n)
    positions: Tensor = field(init=False)  # (1, n)
    trunk_offsets: list[int] = field(init=False, default_factory=list)  # of each tree, in the row
    tail_offsets: list[list[int]] = field(init=False, default_factory=list)  # of each tail of each tree
    first_row: int = field(init=False, default=0)  # as `Layout` has it
    starts: Sequence[int] = field(init=False)
    n_new: int = field(init=False)
    length: int = field(init=False)  # keys that are read
    _gather: Tensor = field(init=False)  # (trees, widest): the row's tokens, padded with token 0
    _scatter: Tensor = field(init=False)  # (n,): where each token of the row stands among all of `_gather`
    _branches: Tensor = field(init=False)  # (trees, widest): 0 for the trunk, then 1, 2, ...; -1 for padding
    _is_causal: bool = field(init=False)  # nothing branches off: each sees all before it
    _masks: dict[int | None, Tensor] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        ids: list[int] = []
        positions: list[int] = []
        owners: list[tuple[int, int, int]] = []  # tree, place, branch
        for number, (trunk, tails) in enumerate(self.trees):
            start = len(ids)
            self.trunk_offsets.append(start)
            self.tail_offsets.append([])
            for branch, part in enumerate((trunk, *tails)):
                if branch > 0:
                    self.tail_offsets[-1].append(len(ids))
                first = self.n_base + (len(trunk) if branch > 0 else 0)
                owners += [(number, len(ids) - start + i, branch) for i in range(len(part))]
                positions += range(first, first + len(part))
                ids += part
        self.starts, self.n_new, self.length = [self.n_base], len(ids), self.n_base + len(ids)
        self.ids = torch.tensor([ids], device=self.device)
        self.positions = torch.tensor([positions], device=self.device)
        tree, place, branch_of = torch.tensor(owners, device=self.device).T
        shape = len(self.trees), int(place.max()) + 1
        self._scatter = tree * shape[1] + place
        self._gather = torch.zeros(shape, dtype=torch.long, device=self.device)
        self._gather[tree, place] = torch.arange(len(ids), device=self.device)
        self._branches = torch.full(shape, -1, device=self.device)
        self._branches[tree, place] = branch_of
        self._is_causal = all(len(tails) <= 1 for _, tails in self.trees)

    @property
    def places_of_keys(self) -> Tensor:
        """Where in the row each token's key stands: (1, n)."""
        return torch.arange(self.n_base, self.length)[None]

    @cached_property
    def sees(self) -> Tensor:
        """The three stretches of keys that each token sees, the last of which ends with itself or is empty: (n, 3, 3).

        What all share, the trunk, the tail: the first key, that behind the last, and how far before the token in its
        text the first one stands.
        """
        parts = []  # trunk and how long it is, the part itself and how long that is, whether it is a tail
        for start, offsets, (trunk, tails) in zip(self.trunk_offsets, self.tail_offsets, self.trees, strict=True):
            parts.append((start, len(trunk), start, len(trunk), 0))
            parts += [(start, len(trunk), offset, len(tail), 1) for offset, tail in zip(offsets, tails, strict=True)]
        trunks, n_trunk, firsts, sizes, is_tail = torch.tensor(parts).T
        trunks, n_trunk, firsts, is_tail = (
            each.repeat_interleave(sizes) for each in (trunks, n_trunk, firsts, is_tail)
        )  # fmt: skip
        positions, ends = self.positions[0].cpu(), self.places_of_keys[0] + 1
        found = torch.zeros(self.n_new, 3, 3, dtype=torch.long)
        found[:, 0, 1], found[:, 0, 2] = self.n_base, positions
        found[:, 1, 0], found[:, 1, 2] = self.n_base + trunks, positions - self.n_base
        found[:, 1, 1] = torch.minimum(ends, self.n_base + trunks + n_trunk)
        found[:, 2, 0], found[:, 2, 2] = self.n_base + firsts, positions - self.n_base - n_trunk
        found[:, 2, 1] = ends * is_tail
        return found

    def read_only(self, tokens: Collection[int]) -> None:
        """Of the others the last states may be anything."""
        wanted = sorted(set(tokens))
        self.reads = None if len(wanted) == self.ids.numel() else torch.tensor(wanted, dtype=torch.long).to(self.device)

    def mask(self, window: int | None) -> Tensor:
        """Which keys each token sees, tree by tree: (trees, 1, widest, n_base + widest)."""
        if window not in self._masks:
            self._masks[window] = self._make_mask(window)
        return self._masks[window]

    def _make_mask(self, window: int | None) -> Tensor:
        own = self.positions[0][self._gather]
        branch = self._branches
        seen = (branch[:, None] == branch[:, :, None]) | (branch[:, None] == 0)
        seen &= own[:, None] <= own[:, :, None]
        base = torch.arange(self.n_base, device=self.device).expand(len(own), -1)
        keys = torch.cat([base, own], 1)
        seen = torch.cat([seen.new_ones(len(own), own.shape[1], self.n_base), seen], 2)
        if window is not None:
            seen &= keys[:, None] > own[:, :, None] - window
        return seen[:, None]

    def attend(self, query: Tensor, key: Tensor, value: Tensor, window: int | None, scale: float | None) -> Tensor:
        """Attention of each token to what it sees.

        Query (1, heads, n, size), key and value (1, key heads, n_base + n, size); gives (1, n, heads, size).
        """
        is_alone = len(self.trees) == 1  # then the row is the tree
        trees = query if is_alone else self._apart(query[0])
        keys, values = (each if is_alone else self._with_base(each[0]) for each in (key, value))
        # Padding stands behind the tokens, where none of them looks.
        is_causal = self._is_causal and (window is None or window >= keys.shape[2])
        mask = None if is_causal else self.mask(window)
        out = attention.attend(trees, keys, values, mask, scale, is_causal=is_causal).transpose(1, 2)
        return out if is_alone else out.flatten(0, 1).index_select(0, self._scatter)[None]

    def _apart(self, row: Tensor) -> Tensor:
        """(heads, n, size) -> (trees, heads, widest, size)."""
        # All heads of a token in one piece: several times as fast as head by head.
        tokens = row.transpose(0, 1).index_select(0, self._gather.flatten())
        return tokens.unflatten(0, self._gather.shape).transpose(1, 2)

    def _with_base(self, row: Tensor) -> Tensor:
        """(heads, n_base + n, size) -> (trees, heads, n_base + widest, size)."""
        own = self._apart(row[:, self.n_base :])
        if self.n_base == 0:
            return own
        return torch.cat([row[None, :, : self.n_base].expand(len(own), -1, -1, -1), own], 2)


class Branch(Cache):
    """Keys and values of one pass behind those of its base; `is_base` keeps them for passes that go on from it."""

    def __init__(self, base: "Branch | None", *, is_base: bool = False) -> None:
        super().__init__(layers=[])
        self._base = base
        self._is_base = is_base
        self._held: dict[tuple[int, str], Tensor] = {}
        self._rooms: list[list[Tensor]] = []

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """All keys and values that this pass may read."""
        return self._extended(layer_idx, "keys", key_states), self._extended(layer_idx, "values", value_states)

    def room(self, layout: TreeLayout, n_layers: int, like: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Keys and values of all layers, (1, heads, length, size), where one layer runs after the other; see `fill`.

        A base has room for each, all others the same for all. `like` is a key (heads, size).
        """
        n_rooms = n_layers if self._is_base else 1
        rooms = like.new_empty(2, n_rooms, 1, like.shape[0], layout.length, like.shape[1])
        self._rooms = [list(each) * (n_layers // n_rooms) for each in rooms]
        if self._is_base:
            for kind, of_layers in zip(("keys", "values"), self._rooms, strict=True):
                self._held.update({(layer, kind): whole for layer, whole in enumerate(of_layers)})
        return self._rooms[0], self._rooms[1]

    @property
    def fill(self) -> Callable[[int], None] | None:
        """What is to be called before a layer runs in the `room`, with its number; None where nothing is."""
        return None if self._base is None else self._fill

    def _fill(self, layer: int) -> None:
        """The base's keys and values stand before those of the pass."""
        assert self._base is not None
        for kind, of_layers in zip(("keys", "values"), self._rooms, strict=True):
            held = self._base._held[layer, kind]
            of_layers[layer][:, :, : held.shape[2]] = held

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Passes give positions themselves; models ask all the same."""
        return 0

    def get_mask_sizes(self, query_length: int, layer_idx: int) -> tuple[int, int]:
        """As above: passes bring their own masks."""
        return query_length, 0

    def _extended(self, layer: int, kind: str, new: Tensor) -> Tensor:
        whole = new if self._base is None else torch.cat([self._base._held[layer, kind], new], 2)
        if self._is_base:
            self._held[layer, kind] = whole
        return whole


class Reading:
    """A model as its two parts: tokens to hidden states, and hidden states to logits where they are read.

    `is_split`: what `splits` says of this model.
    """

    def __init__(self, model: PreTrainedModel, *, is_split: bool) -> None:
        self._model = model
        self._body: nn.Module = model.get_decoder()
        self._head: Callable[[Tensor], Tensor] = model.get_output_embeddings()
        self._is_split = is_split

    def states(self, layout: TreeLayout, branch: Branch) -> Tensor:
        """What the output layer reads after each token that is read: (n, size); logits where the parts do not split."""
        use_all_threads()
        arguments = {
            "input_ids": layout.ids,
            "position_ids": layout.positions,
            "attention_mask": torch.empty(1, 1, 1, 1, device=layout.device),  # of four dimensions: taken as it is
            "past_key_values": branch,
            "use_cache": True,
            "layout": layout,
        }
        if self._is_split:
            return self._body(**arguments).last_hidden_state[0]
        return self._model(**arguments).logits[0]

    def logits(self, states: Tensor) -> Tensor:
        """What the model says after these states: (n, vocabulary), float32."""
        return (self._head(states) if self._is_split else states).float()

    def logprobs(self, states: Tensor, wanted: Sequence[tuple[int, int]]) -> tuple[list[float], list[bool]]:
        """Natural-log probability of each (position, target), and whether greedy decoding takes the target; in float32.

        A position that several ask for goes through the output layer once.
        """
        positions = torch.tensor(sorted({position for position, _ in wanted}), device=states.device)
        row_of = {position: row for row, position in enumerate(positions.tolist())}
        order = sorted(range(len(wanted)), key=lambda i: row_of[wanted[i][0]])
        values, greedy = [0.0] * len(wanted), [False] * len(wanted)
        first = 0
        n_rows = HEAD_ROWS_FP32 if states.dtype == torch.float32 else HEAD_ROWS
        for start in range(0, len(positions), n_rows):
            part = states[positions[start : start + n_rows]]
            end = first
            while end < len(order) and row_of[wanted[order[end]][0]] < start + len(part):
                end += 1
            asked = order[first:end]
            rows = torch.tensor([row_of[wanted[i][0]] - start for i in asked], device=states.device)
            targets = torch.tensor([wanted[i][1] for i in asked], device=states.device)
            # As the harness rounds, also in which of two near tokens counts as the larger; and faster than logsumexp.
            logprobs = torch.log_softmax(self.logits(part), -1)
            found = logprobs[rows, targets].tolist(), _is_greedy(logprobs, rows, targets).tolist()
            for i, value, is_greedy in zip(asked, *found, strict=True):
                values[i], greedy[i] = value, is_greedy
            first = end
        return values, greedy


@torch.inference_mode()
def splits(model: PreTrainedModel) -> bool:
    """Whether the output layer is all that stands between hidden states and logits: some models scale or cap.

    Raises: what torch raises where memory runs out, which says nothing about the model.
    """
    ids = torch.tensor([[0, 1, 2]], device=model.device)
    try:
        hidden = model.get_decoder()(input_ids=ids, use_cache=False).last_hidden_state
        return torch.equal(model.get_output_embeddings()(hidden), model(input_ids=ids, use_cache=False).logits)
    except (AttributeError, TypeError, RuntimeError) as error:
        if is_out_of_memory(error):
            raise
        return False


def _is_greedy(logits: Tensor, rows: Tensor, targets: Tensor) -> Tensor:
    """Whether greedy decoding takes these tokens after these rows of (n, vocabulary).

    The largest value is found sooner than its place; the place is asked only where the value is the same, since of
    equal ones, which are common in bfloat16, greedy decoding takes the first.
    """
    is_greedy = logits[rows, targets] >= logits.amax(-1)[rows]
    likely = is_greedy.nonzero()[:, 0]
    if len(likely):
        is_greedy[likely] = logits[rows[likely]].argmax(-1) == targets[likely]
    return is_greedy
