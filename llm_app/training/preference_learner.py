"""TRL's DPO made ready for our loop: its collation, its reference model, its loss and its rewards."""

import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch
from datasets import Dataset
from torch import Tensor
from trl.trainer.dpo_config import DPOConfig
from trl.trainer.dpo_trainer import DPOTrainer

from llm_app.engine.adapter_file import is_named
from llm_app.errors import UserError
from llm_app.training.base import Base
from llm_app.training.config import TrainConfig
from llm_app.training.lora_config import lora_config
from llm_app.training.optim import Weights

if TYPE_CHECKING:
    from peft import LoraConfig, PeftModel


class TokenPair(Protocol):
    """What TRL collates."""

    @property
    def prompt_ids(self) -> list[int]:
        """Tokens before the answers."""

    @property
    def chosen_ids(self) -> list[int]:
        """Tokens of the better answer."""

    @property
    def rejected_ids(self) -> list[int]:
        """Tokens of the worse answer."""


@dataclass(frozen=True)
class Rewards:
    """Over some pairs: how often the better answer has the higher reward, and by how much on average.

    The reward of an answer is beta times the log of how much likelier it became than it was for the base.
    """

    n_pairs: int = 0
    n_answer_tokens: int = 0
    accuracy: float = 0.0
    margin: float = 0.0


class _Dpo(DPOTrainer):
    """Takes pairs that are tokens already: all our training encodes examples in one way."""

    def _prepare_dataset(self, dataset: Dataset, *_rest: Any) -> Dataset:
        return dataset


class PreferenceLearner:
    """A LoRA over a model, and the loss of pairs. The reference is the model with the LoRA switched off.

    Raises: UserError if a target names no layer, or the output layer.
    """

    is_packing = False

    def __init__(self, base: Base, config: TrainConfig) -> None:
        self._device = base.device
        # TRL makes folders where it is told; nothing of ours is written through it.
        self._folder = tempfile.TemporaryDirectory(prefix="dpo-")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # TRL's, about options that it sets itself
            self._trl = _Dpo(
                model=base.model, args=_arguments(self._folder.name, base, config),
                train_dataset=Dataset.from_list([{"prompt_ids": [0], "chosen_ids": [0], "rejected_ids": [0]}]),
                processing_class=base.tokenizer, peft_config=_lora(base, config),
            )
        self._model: PeftModel = self._trl.model
        # Dropout is off, so training mode changes no number; in the other, bitsandbytes repacks its weights for good.
        self._model.train()
        if config.checkpoints_gradients:
            self._model.gradient_checkpointing_enable({"use_reentrant": False})
        self.targets = tuple(sorted(self._model.peft_config["default"].target_modules))
        self.weights = Weights(
            (_plain(name), parameter) for name, parameter in self._model.named_parameters() if parameter.requires_grad
        )
        self._sums = [0.0, 0.0, 0.0, 0.0]  # pairs, tokens of answers, higher rewards, margins

    def trains(self, is_training: bool) -> None:
        """Nothing differs between training and validation but the gradient."""

    def loss(self, examples: Sequence[Any], seed: int) -> Tensor:
        """Sum of the loss over these pairs."""
        torch.manual_seed(seed)
        pairs: Sequence[TokenPair] = examples
        rows = [
            {"prompt_ids": pair.prompt_ids, "chosen_ids": pair.chosen_ids, "rejected_ids": pair.rejected_ids}
            for pair in pairs
        ]
        batch = {name: tensor.to(self._device) for name, tensor in self._trl.data_collator(rows).items()}
        mean: Tensor = self._trl.compute_loss(self._model, batch)
        figures = self._trl._metrics["train"]
        accuracy, margin = figures["rewards/accuracies"][-1], figures["rewards/margins"][-1]
        figures.clear()
        n = len(rows)
        more = (n, float(batch["completion_mask"].sum()), n * accuracy, n * margin)
        self._sums = [before + each for before, each in zip(self._sums, more, strict=True)]
        return mean * n

    def take_rewards(self) -> Rewards:
        """What the losses since the last call were computed from."""
        (n, n_tokens, n_higher, margin), self._sums = self._sums, [0.0] * 4
        return Rewards(int(n), int(n_tokens), n_higher / max(n, 1), margin / max(n, 1))


def _arguments(folder: str, base: Base, config: TrainConfig) -> DPOConfig:
    return DPOConfig(
        output_dir=folder, beta=config.beta, seed=config.seed, max_length=None,
        disable_dropout=True, gradient_checkpointing=config.checkpoints_gradients,
        # The weights are of the type that it computes in; automatic casting would change it.
        bf16=False, fp16=False, use_cpu=base.device.type == "cpu", report_to="none", disable_tqdm=True,
        dataloader_pin_memory=False,
    )


def _lora(base: Base, config: TrainConfig) -> "LoraConfig":
    """Checked, since peft and TRL answer with a stack of calls."""
    head = base.model.get_output_embeddings()
    for target in config.targets:
        named = [module for name, module in base.model.named_modules() if is_named(name, target)]
        if not named:
            raise UserError(f"targets names {target}, which this model does not have.", param="targets")
        if any(module is head for module in named):
            raise UserError(f"Preference tuning cannot train the output layer {target}: leave it out.", param="targets")
    return lora_config(base.model, config, config.targets or "all-linear", None)


def _plain(name: str) -> str:
    """peft's name of a parameter as it stands in a PEFT file."""
    return name.replace(".default.weight", "" if "lora_magnitude_vector" in name else ".weight")
