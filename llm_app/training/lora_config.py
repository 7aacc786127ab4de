"""peft's own configuration of a LoRA, made from our options."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from llm_app.engine.adapter_file import is_named
from llm_app.training.config import TrainConfig

if TYPE_CHECKING:
    from peft import LoraConfig


def lora_config(
    model: PreTrainedModel, config: TrainConfig, targets: Sequence[str] | str, base_name: str | None
) -> "LoraConfig":
    """`targets`: names of layers, or "all-linear"; `base_name`: what others may call the base.

    peft fills the name in itself where it is None.
    """
    from peft import LoraConfig  # a quarter of a training process's imports, needed only when the adapter is written

    layers = [
        module for name, module in model.named_modules()
        if targets == "all-linear" or any(is_named(name, target) for target in targets)
    ]
    alpha = config.alpha
    return LoraConfig(
        task_type="CAUSAL_LM", base_model_name_or_path=base_name, r=config.rank,
        lora_alpha=int(alpha) if alpha == int(alpha) else alpha,
        lora_dropout=config.dropout, use_rslora=config.use_rslora, use_dora=config.use_dora,
        target_modules=targets if isinstance(targets, str) else list(targets),
        fan_in_fan_out=any(_holds_conv1d(layer) for layer in layers),
    )


def _holds_conv1d(layer: nn.Module) -> bool:
    """Whether the layer, or the one that stands in it beside trained matrices, keeps its weight transposed."""
    return any(isinstance(module, Conv1D) for module in layer.modules())


def as_json(config: "LoraConfig") -> dict[str, Any]:
    """adapter_config.json, with every field that peft writes; equal configurations are equal files."""
    # Sets come out in any order.
    return {key: sorted(value) if isinstance(value, set) else value for key, value in config.to_dict().items()}
