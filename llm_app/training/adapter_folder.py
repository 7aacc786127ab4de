"""What a training run leaves: an adapter in PEFT's layout, or a whole model, with a card and a note about its base."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from llm_app import __version__
from llm_app.engine.adapter_file import CONFIG, WEIGHTS, read_adapter
from llm_app.engine.catalog import ModelEntry, public_name
from llm_app.engine.sources import open_source
from llm_app.training.base import Base
from llm_app.training.config import TrainConfig
from llm_app.training.lora_config import as_json, lora_config
from llm_app.training.model_card import Figures, model_card
from llm_app.training.model_folder import write_note, write_rest, write_weights
from llm_app.training.new_path import new_path

CARD = "README.md"


@dataclass(frozen=True)
class Tuned:
    """What was learned. `tensors` under PEFT's names, or under the model's own if all weights were trained.

    `targets`: the layers with an adapter, as adapter_config.json names them; empty if all weights were trained.
    """

    tensors: Mapping[str, Tensor]
    targets: tuple[str, ...] = ()


def write(folder: Path, tuned: Tuned, base: Base, config: TrainConfig, figures: Figures) -> None:
    """Write it whole to `folder`, in the place of an earlier result of the same run; read back before it counts.

    Raises: UserError if the disk is too small or cannot be written.
    """
    n_bytes = sum(tensor.nbytes for tensor in tuned.tensors.values())
    name = public_name(base.entry)
    with new_path(folder, n_bytes=n_bytes, replaces=True) as partial:
        partial.mkdir()
        if config.method == "full":
            _write_model(partial, tuned, base)
        else:
            made = lora_config(base.model, config, tuned.targets, name)
            made.inference_mode = True
            _write_adapter(partial, tuned.tensors, as_json(made))
        method = "dpo" if config.objective == "dpo" else config.method
        card = model_card(name, config, figures, method=method)
        (partial / CARD).write_text(card, encoding="utf-8")
        _write_base_note(partial, base.entry, base.identity.weights)


def _write_adapter(folder: Path, tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> None:
    """The two files of PEFT's layout, in float32.

    Raises: ModelRejected if our own reader would not take them.
    """
    text = json.dumps(config, indent=2, sort_keys=True, ensure_ascii=False)
    (folder / CONFIG).write_text(text + "\n", encoding="utf-8")
    # In the order of their names: equal weights are equal files.
    plain = {name: tensors[name].detach().to("cpu", torch.float32).contiguous() for name in sorted(tensors)}
    save_file(plain, folder / WEIGHTS, metadata={"format": "pt"})
    read_adapter(folder)


def _write_base_note(folder: Path, entry: ModelEntry, weights: str) -> None:
    """Which base it was made for, by name and by the digest of the base's weights."""
    write_note(folder, {"name": entry.id, "weights": weights}, program=f"proofbench {__version__}")


def _write_model(folder: Path, tuned: Tuned, base: Base) -> None:
    source = open_source(base.entry)
    outline = source.outline()
    tied = set(getattr(outline, "all_tied_weights_keys", None) or ())
    kept = ((name, tensor.detach().to("cpu")) for name, tensor in sorted(tuned.tensors.items()) if name not in tied)
    for _ in write_weights(folder, kept):
        pass
    write_rest(folder, source, outline, torch.float32)
