"""A folder whose model transformers loads as it is: an encoder, with or without a head, small enough to read whole."""

import copy
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import AutoConfig, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from llm_app.engine.failures import is_out_of_memory
from llm_app.engine.placing import check_finite
from llm_app.engine.sources import OFFLINE, or_rejected
from llm_app.engine.weights import WEIGHTS, check_folder, check_vocabulary
from llm_app.errors import ModelRejected


class PlainFolder:
    """Checked before anything is loaded. `task`: what the model is wanted for, as `weights.check_folder` takes it.

    Raises: ModelNotFound, or ModelRejected naming the file at fault.
    """

    def __init__(self, path: Path, task: str) -> None:
        self.path = path
        self.tensors = check_folder(path, task).tensors
        self.files = sorted({info.file for info in self.tensors.values()})  # those with weights
        self.config = or_rejected(path, "config.json", partial(AutoConfig.from_pretrained, path, **OFFLINE))

    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The folder's own."""
        return or_rejected(self.path, "the tokenizer", partial(AutoTokenizer.from_pretrained, self.path, **OFFLINE))

    def model(self, kind: Any, settings: Mapping[str, Any] | None = None) -> tuple[PreTrainedModel, list[str]]:
        """The model in float32, and the names of the weights that the files lack: those are new, and random.

        `kind`: one of transformers' Auto classes; `settings`: of the configuration, in place of what it says.
        Raises: ModelRejected if it cannot be read, or has numbers that are not finite.
        """
        load = partial(
            kind.from_pretrained, self.path, dtype=torch.float32, use_safetensors=True, output_loading_info=True,
            **(settings or {}), **OFFLINE,
        )
        try:
            model, info = or_rejected(self.path, "the model", load)
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise
            raise ModelRejected(f"The weights of {self.path.name} do not fit its config.json.") from error
        check_finite(model.state_dict().items())
        return model.eval(), sorted(info["missing_keys"])

    def check_vocabulary(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        """Raises: ModelRejected if the two do not belong together."""
        check_vocabulary(len(tokenizer), model.get_input_embeddings().num_embeddings)


def write_plain(folder: Path, model: nn.Module, tokenizer: PreTrainedTokenizerBase) -> None:
    """A model of transformers and its tokenizer, in float32, as transformers itself writes and reads them."""
    save_file(copied(model), folder / WEIGHTS, metadata={"format": "pt"})
    config: Any = copy.deepcopy(model.config)
    config.architectures, config.dtype = [type(model).__name__], torch.float32
    config.save_pretrained(folder)
    if backend := getattr(tokenizer, "backend_tokenizer", None):
        # What the last call cut and padded to would be written, and be in force for whoever reads the file.
        backend.no_truncation()
        backend.no_padding()
    tokenizer.save_pretrained(folder)


def copied(module: nn.Module) -> dict[str, Tensor]:
    """All weights: while a network learns, they are parts of one tensor, which would be written whole for each."""
    return {name: tensor.detach().cpu().clone() for name, tensor in sorted(module.state_dict().items())}
