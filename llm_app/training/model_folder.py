"""A whole model as a Hugging Face folder: safetensors, configuration, tokenizer, chat template."""

import copy
import json
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import PreTrainedModel

from llm_app.engine.adapter_file import BASE_NOTE
from llm_app.engine.sources import FolderSource, GgufSource, Source
from llm_app.engine.weights import INDEX, WEIGHTS

MAX_SHARD_BYTES = 2 * 10**9  # also what of the model is in memory at once
# Copied as they are, since no library writes them back byte for byte.
_COPIED = (
    "tokenizer.json", "tokenizer.model", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
    "vocab.json", "merges.txt", "vocab.txt", "tekken.json", "chat_template.jinja", "chat_template.json",
    "generation_config.json",
)
_LICENCES = ("LICENSE*", "LICENCE*", "NOTICE*", "USE_POLICY*")


def write_weights(folder: Path, tensors: Iterable[tuple[str, Tensor]]) -> Iterator[int]:
    """Write them into one file, or into shards with an index; yields the bytes written so far."""
    shards: list[list[str]] = []
    waiting: dict[str, Tensor] = {}
    n_waiting = n_written = 0

    def write() -> None:
        shards.append(list(waiting))
        save_file(waiting, folder / _shard(len(shards)), metadata={"format": "pt"})
        waiting.clear()

    for name, tensor in tensors:
        if waiting and n_waiting + tensor.nbytes > MAX_SHARD_BYTES:
            write()
            n_waiting = 0
        # A tensor that is a view of a larger one would bring all of it along.
        waiting[name] = tensor.clone() if tensor.untyped_storage().nbytes() > tensor.nbytes else tensor.contiguous()
        n_waiting += tensor.nbytes
        n_written += tensor.nbytes
        yield n_written
    write()
    _name_shards(folder, shards, n_written)


def _shard(number: int) -> str:
    return f"model-{number:05d}.safetensors"


def _name_shards(folder: Path, shards: list[list[str]], n_bytes: int) -> None:
    if len(shards) == 1:
        (folder / _shard(1)).rename(folder / WEIGHTS)
        return
    file_of = {}
    for number, names in enumerate(shards, start=1):
        final = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        (folder / _shard(number)).rename(folder / final)
        file_of.update(dict.fromkeys(names, final))
    index = {"metadata": {"total_size": n_bytes}, "weight_map": file_of}
    (folder / INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def write_rest(folder: Path, source: Source, outline: PreTrainedModel, dtype: torch.dtype) -> None:
    """Everything but the weights: configuration, tokenizer with its chat template, licence where there is one.

    Raises: ModelRejected if the model cannot be described by a configuration.
    """
    if isinstance(source, GgufSource):
        source.describe_rope(outline)
    config = copy.deepcopy(outline.config)
    config.architectures = [type(outline).__name__]
    config.dtype = dtype
    config.save_pretrained(folder)
    if isinstance(source, FolderSource):
        licences = (file for pattern in _LICENCES for file in source.path.glob(pattern))
        for file in (*(source.path / name for name in _COPIED), *licences):
            if file.is_file():
                shutil.copyfile(file, folder / file.name)
    else:
        source.tokenizer().save_pretrained(folder)
        if outline.generation_config is not None:
            outline.generation_config.save_pretrained(folder)


def write_note(folder: Path, base: dict[str, Any], **more: Any) -> None:
    """What this program wants to know about where the weights came from: `name` and `weights` (digest) of the base."""
    text = json.dumps({"base": base, **more}, indent=2, ensure_ascii=False)
    (folder / BASE_NOTE).write_text(text + "\n", encoding="utf-8")
