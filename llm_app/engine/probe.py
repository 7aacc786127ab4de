"""Does this model take our passes? Told by its own forward when it is loaded, since its name does not tell."""

import logging
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from llm_app.engine.branches import Branch, Reading, TreeLayout, splits
from llm_app.engine.failures import is_out_of_memory
from llm_app.engine.forward import forward
from llm_app.engine.slots import SlotCache

log = logging.getLogger(__name__)


@torch.inference_mode()
def batches_correctly(model: PreTrainedModel, n_context: int) -> bool:
    """Whether requests that are decoded together, and inputs scored as trees, get the logits that each gets alone.

    Raises: what torch raises where memory runs out, which says nothing about the model.
    """
    config = model.config.get_text_config()
    if any(kind in ("longrope", "dynamic") for kind in _rope_types(getattr(config, "rope_parameters", None))):
        return False  # these scale all rows by the longest one of the pass
    kinds = set(getattr(config, "layer_types", None) or ())
    if not kinds <= {"full_attention", "sliding_attention"}:
        return False  # attention in chunks, for one, differs only behind the first, which may be thousands of tokens
    vocabulary, window = config.vocab_size, getattr(config, "sliding_window", None) or 0
    # Longer than a short sliding window, so that the window is part of the test.
    n = max(6, min(max(window + 3, 12), 64, n_context - 2))
    # From the middle of the vocabulary: the first tokens are often special ones that were never learned, after which
    # one rounding more or less changes everything.
    first = vocabulary // 3
    long = [(first + 1009 * i) % vocabulary for i in range(n)]
    short = long[:2] + [(first + 2003 * i + 1) % vocabulary for i in range(2, n - 3)]
    rows = [[*long, first], [*short, first]]
    try:
        want = torch.cat([model(torch.tensor([row], device=model.device)).logits[:, -1].float() for row in rows])
        decoded, windows = _decoded(model, rows)
        scored = _scored(model, rows)
    except (TypeError, ValueError, IndexError, RuntimeError, AttributeError, AssertionError) as error:
        if is_out_of_memory(error):
            raise
        log.info("our passes failed on this model", exc_info=error)
        return False
    # A window longer than this probe is not cut here: its layers must at least name it.
    if "sliding_attention" in kinds and windows <= {None}:
        return False
    return all(got.shape == want.shape and _error(got, want) <= tolerance(model) for got in (decoded, scored))


def _error(got: Tensor, want: Tensor) -> float:
    """Root mean square of the error of a row's logits, of that of the logits around their mean; the largest of a row.

    Not the largest error of a logit: after thirty layers, one rounding of bfloat16 moves some token by a tenth.
    """
    spread = (want - want.mean(-1, keepdim=True)).pow(2).mean(-1).sqrt().clamp(min=1e-6)
    error = ((got - want).pow(2).mean(-1).sqrt() / spread).max()
    return float(error) if error.isfinite() else float("inf")


def tolerance(model: PreTrainedModel) -> float:
    """How large that may be. Measured: 0.02 to 0.1 by roundings of bfloat16, 0.5 and more where masks are forgotten.

    Eight bits on a GPU round a token by what else is in its pass.
    """
    if any(type(module).__name__ == "Linear8bitLt" for module in model.modules()):
        return 0.3
    return 1e-3 if model.dtype == torch.float32 else 0.25


def _decoded(model: PreTrainedModel, rows: list[list[int]]) -> tuple[Tensor, set[int | None]]:
    """Logits after the rows, read in two passes and a step as a batch reads them; windows that layers asked for."""
    cache = SlotCache()
    middle = (len(rows[0]) - 1) // 2
    forward(model, cache, [row[:middle] for row in rows], [0, 0])
    forward(model, cache, [row[middle:-1] for row in rows], [middle, middle])
    logits = forward(model, cache, [row[-1:] for row in rows], [len(row) - 1 for row in rows])
    return logits, cache.layout.windows if cache.layout is not None else set()


def _scored(model: PreTrainedModel, rows: list[list[int]]) -> Tensor:
    """Logits after the rows, which begin alike, as scoring reads them: a base, then two trees of which one branches."""
    long, short = rows
    n_base, n_trunk = 2, len(long) // 2
    reading, base = Reading(model, is_split=splits(model)), Branch(None, is_base=True)
    reading.states(TreeLayout(0, [(long[:n_base], [])], model.device), base)
    trees = [(long[n_base:n_trunk], [short[n_base:], long[n_trunk:]]), (short[n_base:], [])]
    layout = TreeLayout(n_base, trees, model.device)
    ends = [layout.tail_offsets[0][1] + len(long) - n_trunk - 1, layout.trunk_offsets[1] + len(short) - n_base - 1]
    layout.read_only(ends)
    return reading.logits(reading.states(layout, Branch(base))[ends])


def _rope_types(parameters: Any) -> list[str]:
    """Kinds of rotary scaling, whether declared once or for each kind of layer."""
    if not isinstance(parameters, dict):
        return []
    own = [parameters["rope_type"]] if isinstance(parameters.get("rope_type"), str) else []
    return own + [kind for value in parameters.values() for kind in _rope_types(value)]
