"""Whether a compact pass computes what the model's own layers do, asked at each load."""

from typing import Any, Protocol

import torch
from torch import Tensor

from llm_app.engine.branches import Branch, TreeLayout
from llm_app.engine.compiled import panels
from llm_app.engine.compiled_pass import MOST_TOKENS, CompiledPass
from llm_app.engine.one_each import OneEach
from llm_app.engine.packed import LEAST_ROWS
from llm_app.engine.slots import Layout, SlotCache

N_ASKED = panels.WIDTH + 13  # tokens, of which some see a whole panel of keys, and a tree has two branches
WITHIN = 0.1  # mean error of a layer's numbers, of what it changes; measured 0.005 to 0.02 in bf16, forgotten masks 0.5


class Pass(Protocol):
    """A pass, as far as it is asked here."""

    layers: list[Any]
    compiled: CompiledPass | None
    one_each: OneEach | None

    def turn(self, x: Tensor, positions: Tensor) -> Any:
        """The rotation of tokens at positions (rows, new), for the layers."""

    def rotation(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """The same for compiled layers."""

    def through_all(self, x: Tensor, turn: Any, cache: Any, layout: Any, n_rows: int) -> Tensor:
        """States through all layers, one by one."""


@torch.inference_mode()
def agrees(body: Any, taken: Pass) -> bool:
    """Whether each layer does to its input what transformers' does, by itself and compiled, for few tokens and many.

    Layer by layer, since what bfloat16 rounds in one layer is far more after thirty.
    """
    n_tokens = min(max(N_ASKED, (getattr(body.config, "sliding_window", None) or 0) + 3), 64)
    ids = torch.tensor([[(7 * i + 3) % body.config.vocab_size for i in range(n_tokens)]], device=body.device)
    seen: list[tuple[Tensor, Tensor]] = []
    handles = [layer.register_forward_hook(lambda _, x, out: seen.append((x[0][0], out[0]))) for layer in body.layers]
    body(input_ids=ids, use_cache=False)
    for handle in handles:
        handle.remove()
    layout, cache = Layout(0, [0], n_tokens, body.device), SlotCache()
    n_few = min(panels.LEAST - 1, MOST_TOKENS, n_tokens)
    compiled = [(Layout(0, [0], n, body.device), SlotCache()) for n in (n_tokens, n_few)]
    cache.layout = layout
    turn = taken.turn(seen[0][0], layout.positions)
    for number, (layer, (x, out)) in enumerate(zip(taken.layers, seen, strict=True)):
        found = [layer(x, turn, cache, layout, 1)]
        for its, its_cache in compiled:
            pairs = None if taken.compiled is None else taken.compiled.additions(its.n_new)
            if taken.compiled is not None and pairs is not None:
                rotation = taken.rotation(its.positions)
                found.append(taken.compiled(x[: its.n_new], rotation, its_cache, its, pairs, number))
        if any(_is_other(each, out[: len(each)], x[: len(each)]) for each in found):
            return False
        is_first = layer.window not in {each.window for each in taken.layers[:number]}
        if is_first and not _branches_agree(taken, layer, number, ids[0].tolist(), x):
            return False
    # One more token of each row: the way of single tokens against what was just compared.
    return taken.one_each is None or _goes_alone(taken, taken.one_each, seen[0][0], n_tokens)


def _branches_agree(taken: Pass, layer: Any, number: int, ids: list[int], x: Tensor) -> bool:
    """Whether the tokens of a tree get what the layer by itself gives them: asked once for each kind of window."""
    pairs = None if taken.compiled is None else taken.compiled.additions(len(ids), is_tree=True)
    if taken.compiled is None or pairs is None:
        return True
    tree = TreeLayout(0, [(ids[:8], [ids[8:20], ids[20:]])], x.device)
    want = layer(x, taken.turn(x, tree.positions), Branch(None), tree, 1)
    return not _is_other(taken.compiled(x, taken.rotation(tree.positions), Branch(None), tree, pairs, number), want, x)


def _is_other(got: Tensor, want: Tensor, x: Tensor) -> bool:
    """Whether numbers have an error that is no rounding.

    It counts relative to what the layer changes in its token, and to what bfloat16 can hold of the number itself.
    """
    change = (want - x).float().pow(2).mean(-1, keepdim=True).sqrt()
    return float(((got - want).float().abs() / (change + want.float().abs() / 64 + 1e-9)).mean()) > WITHIN


def _goes_alone(taken: Pass, one_each: OneEach, x: Tensor, n_before: int) -> bool:
    """Whether a token of each of some rows, behind others, gets what the way of many tokens gives."""
    cache, found, n_rows = SlotCache(), [], LEAST_ROWS
    for n_held, n_new, is_shared in ((0, n_before, True), (n_before, 1, True), (n_before, 1, False)):
        cache.layout = layout = Layout(0, [n_held] * n_rows, n_new, x.device)
        read, turn = x[:n_new].repeat(n_rows, 1), taken.turn(x, layout.positions)
        if is_shared:
            found.append(taken.through_all(read, turn, cache, layout, n_rows).float())
        elif (states := one_each(read, turn.cos, turn.sin, cache, layout)) is not None:
            found.append(states.float())
    _, want, *alone = found
    return all(torch.allclose(each, want, rtol=0.05, atol=0.05 * float(want.abs().max())) for each in alone)
