"""Rotary positions of a GGUF model: what its metadata and its table of factors say, in transformers' words."""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from llm_app.engine.gguf_file import GgufFile
from llm_app.errors import ModelRejected

FACTORS = "rope_freqs.weight"
# How Llama 3.1 and later stretch their positions; only the factor differs between them.
_LLAMA3 = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}


def single(value: Any, key: str) -> Any:
    """One number for all layers; some files give a list with the same one repeated.

    Raises: ModelRejected if they differ.
    """
    if isinstance(value, np.ndarray):
        if len(value) == 0 or (value != value[0]).any():
            raise ModelRejected(f"{key} differs between layers, which is not supported.")
        return value[0].item()
    return value


def add_scaling(config: PretrainedConfig, file: GgufFile) -> None:
    """Write what the metadata say about rope scaling into the configuration.

    Raises: ModelRejected for a kind that is not known here.
    """
    prefix = f"{file.architecture}.rope.scaling."
    kind, factor = file.metadata.get(prefix + "type"), file.metadata.get(prefix + "factor")
    if kind in (None, "none") or factor is None or getattr(config, "rope_parameters", None) is None:
        return
    if kind not in ("linear", "yarn"):
        raise ModelRejected(f"Rope scaling {str(kind)[:40]} is not supported for GGUF; supported: linear, yarn.")
    # Gemma 3 has parameters for each kind of layer; only the layers with full attention are scaled.
    parameters = config.rope_parameters.get("full_attention", config.rope_parameters)
    parameters.update(rope_type=kind, factor=float(single(factor, prefix + "factor")))
    original = file.metadata.get(prefix + "original_context_length")
    if original is not None and kind == "yarn":
        parameters["original_max_position_embeddings"] = single(original, prefix + "original_context_length")
    config.standardize_rope_params()


def _factors(file: GgufFile) -> Tensor | None:
    """What the rotary frequencies are divided by, in files of Llama 3.1 and later."""
    info = file.tensors.get(FACTORS)
    return None if info is None else torch.from_numpy(np.array(file.values(info), copy=True))


def apply_factors(file: GgufFile, model: PreTrainedModel) -> None:
    """Divide the rotary frequencies by the factors that the file carries."""
    factors = _factors(file)
    if factors is not None:
        rotary = model.get_submodule("model.rotary_emb")
        rotary.inv_freq.div_(factors.to(rotary.inv_freq.device))
        rotary.original_inv_freq = rotary.inv_freq.clone()


def describe_factors(file: GgufFile, model: PreTrainedModel) -> None:
    """Say in the configuration what the file's factors do, so that a folder of the model needs no table.

    Raises: ModelRejected if they are not those of Llama 3.
    """
    factors = _factors(file)
    if factors is None:
        return
    config = model.config
    plain = model.get_submodule("model.rotary_emb").inv_freq
    config.rope_parameters.update(rope_type="llama3", factor=float(factors.max()), **_LLAMA3)
    stretched, _ = ROPE_INIT_FUNCTIONS["llama3"](config, torch.device("cpu"))
    if stretched.shape != factors.shape or not torch.allclose(stretched, plain.cpu() / factors, rtol=1e-5, atol=0.0):
        raise ModelRejected(f"{file.path.name} stretches positions in a way that config.json has no name for.")
