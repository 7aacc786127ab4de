"""BERT-like encoders with a trained head, from any folder that transformers loads as it is."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification, PreTrainedModel, PreTrainedTokenizerBase

from llm_app.classify.folder import ClassifierFile
from llm_app.classify.labels import check_labels
from llm_app.classify.network import Row, padded, padded_kinds
from llm_app.classify.types import Item, Kind
from llm_app.engine.plain_folder import PlainFolder
from llm_app.errors import ModelRejected, UserError

NO_HEAD = (
    "{name}: this model has no trained classification head. Train one (classify train), or give labels to ask a chat"
    " model for them."
)
PROBLEMS: dict[Kind, str] = {
    "single": "single_label_classification", "multi": "multi_label_classification", "regression": "regression",
}
USUAL_LENGTH = 512
UNREAD_CHANGES = 1e-3  # of the largest logit, at most: what is not read changes rounding and nothing else


@dataclass(frozen=True)
class Place:
    """A token is text[start:end], of the second text if `is_pair`."""

    start: int
    end: int
    is_pair: bool


class EncoderNetwork:
    """A transformers model for sequence classification with its tokenizer. `max_length`: tokens, special ones too."""

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, max_length: int) -> None:
        self.module: nn.Module = model
        self.tokenizer, self.max_length = tokenizer, max_length
        self._tokenizing = threading.Lock()  # a tokenizer keeps the last limit it was given, for all threads
        self._pad = int(model.config.pad_token_id or 0)

    def rows(self, items: Sequence[Item]) -> list[Row]:
        """As the tokenizer adds special tokens; of a text that is too long the end is cut, of a pair the longer one's.

        Raises: UserError if some are pairs and some are not.
        """
        if not items:
            return []
        # Without the limit first: what is cut has to be counted.
        encoded = self._encoded(items, is_cut=False)
        over = [place for place, ids in enumerate(encoded["input_ids"]) if len(ids) > self.max_length]
        n_cut = {place: len(encoded["input_ids"][place]) - self.max_length for place in over}
        if over:
            shorter = self._encoded([items[place] for place in over], is_cut=True)
            for name, lines in shorter.items():
                for place, line in zip(over, lines, strict=True):
                    encoded[name][place] = line
        kinds: Sequence[Sequence[int]] = encoded.get("token_type_ids") or [()] * len(items)
        return [
            Row(tuple(ids), tuple(which), n_cut.get(place, 0))
            for place, (ids, which) in enumerate(zip(encoded["input_ids"], kinds, strict=True))
        ]

    def logits(self, rows: Sequence[Row]) -> Tensor:
        """(rows, labels)."""
        return self.run(self.inputs(rows))

    def inputs(self, rows: Sequence[Row]) -> dict[str, Tensor]:
        """What the model is called with."""
        device = next(self.module.parameters()).device
        ids, mask = padded(rows, self._pad, device)
        kinds = padded_kinds(rows, device)
        given = {"input_ids": ids, "attention_mask": mask, "token_type_ids": kinds}
        return {name: tensor for name, tensor in given.items() if tensor is not None}

    def run(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """(rows, labels) in float32."""
        logits: Tensor = self.module(**inputs).logits
        return logits.float()

    @property
    def embeddings(self) -> nn.Module:
        """What turns ids into vectors."""
        model: PreTrainedModel = self.module
        return model.get_input_embeddings()

    def places(self, item: Item) -> list[Place | None]:
        """Where in the texts each token of the item's row stands; None for special ones.

        Raises: UserError if the tokenizer cannot say.
        """
        if not self.tokenizer.is_fast:
            raise UserError(
                "This classifier's tokenizer cannot tell where its tokens stand. Choose to leave out each word.",
                message_zh="该分类器的分词器无法给出词元位置。请选择“逐词遮去”。",
            )
        with self._tokenizing:
            found = self.tokenizer(
                item.text, item.pair, truncation=True, max_length=self.max_length, return_offsets_mapping=True
            )
        return [
            None if which is None else Place(start, end, which == 1)
            for which, (start, end) in zip(found.sequence_ids(0), found["offset_mapping"], strict=True)
        ]

    def _encoded(self, items: Sequence[Item], *, is_cut: bool) -> dict[str, list[list[int]]]:
        pairs = [item.pair for item in items]
        if None in pairs and any(pair is not None for pair in pairs):
            raise UserError("Some rows have a second text and some have none: they cannot be classified together.")
        seconds = None if None in pairs else pairs
        options: dict[str, Any] = {"truncation": True, "max_length": self.max_length} if is_cut else {}
        with self._tokenizing:
            found = self.tokenizer(
                [item.text for item in items], seconds, return_attention_mask=False, verbose=False, **options
            )
        return {name: [list(line) for line in found[name]] for name in found}


def open_encoder(
    folder: PlainFolder, file: ClassifierFile | None, device: torch.device, *, name: str
) -> tuple[EncoderNetwork, ClassifierFile]:
    """The network in a folder with a trained head, and what it predicts; `name`: what a person calls it.

    Raises: ModelRejected if there is no trained head, or if classifier.json says something else than the folder.
    """
    no_head = ModelRejected(NO_HEAD.format(name=name), param="model")
    if not any(str(kind).endswith("ForSequenceClassification") for kind in folder.config.architectures or ()):
        raise no_head
    model, missing = folder.model(AutoModelForSequenceClassification)
    if missing:
        raise no_head
    tokenizer = folder.tokenizer()
    folder.check_vocabulary(model, tokenizer)
    _set_padding(model, tokenizer, name)
    found = _described(model, longest(model, tokenizer))
    if file is not None:
        if (file.kind, file.labels) != (found.kind, found.labels):
            raise ModelRejected(
                f"The classifier cannot be used: classifier.json says {file.kind} of {len(file.labels)} labels,"
                f" config.json {found.kind} of {len(found.labels)}, or the labels are not the same.", param="model",
            )
        found = file
    leave_out_unread(model)
    network = EncoderNetwork(model.to(device), tokenizer, min(found.max_length, longest(model, tokenizer)))
    return network, found


def new_encoder(
    folder: PlainFolder, kind: Kind, labels: Sequence[str], max_length: int, device: torch.device
) -> EncoderNetwork:
    """An encoder with a new head, which nobody may be shown before it is trained; torch's seed decides its weights.

    Raises: ModelRejected if the encoder itself is not whole.
    """
    model, missing = folder.model(AutoModelForSequenceClassification, _head(kind, labels))
    encoder = f"{model.base_model_prefix}."
    # A pooler in front of the head is learned with it where the encoder brings none.
    lost = [name for name in missing if name.startswith(encoder) and ".pooler." not in name]
    if lost:
        raise ModelRejected(f"The model's files lack the tensor {lost[0]}.", param="model")
    tokenizer = folder.tokenizer()
    folder.check_vocabulary(model, tokenizer)
    return EncoderNetwork(model.to(device), tokenizer, min(max_length, longest(model, tokenizer)))


@torch.inference_mode()
def leave_out_unread(model: PreTrainedModel) -> bool:
    """Where the head reads the first token alone, let the last layer go on with no other; says whether it does.

    Of BERT's kinds, which keep a layer's output projection in `attention.output`. That the logits stay what they were
    is not assumed but tried.
    """
    try:
        after_attention: nn.Module = model.base_model.encoder.layer[-1].attention.output
    except AttributeError:
        return False
    ids = torch.tensor([[1, 2, 3, 4], [4, 3, 2, 1]], device=model.device) % model.config.vocab_size
    whole = model(input_ids=ids).logits
    hook = after_attention.register_forward_pre_hook(_first_token)
    try:
        difference = (model(input_ids=ids).logits - whole).abs().max()
        is_same = bool(difference <= UNREAD_CHANGES * whole.abs().max())
    except (RuntimeError, TypeError, IndexError):
        is_same = False
    if not is_same:
        hook.remove()
    return is_same


def _first_token(_module: nn.Module, states: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(each[:, :1] for each in states)


def longest(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> int:
    """Tokens that the model has positions for, or fewer if its tokenizer says so."""
    own = getattr(model.config, "max_position_embeddings", None) or USUAL_LENGTH
    # RoBERTa's kind counts positions from behind the padding's.
    first = [
        module.padding_idx + 1
        for name, module in model.named_modules()
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding) and module.padding_idx is not None
    ]
    return min(own - max(first, default=0), tokenizer.model_max_length)


def _set_padding(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, name: str) -> None:
    """A causal model with a head looks for the last token that is no padding. Raises: ModelRejected."""
    if model.config.pad_token_id is None:
        if tokenizer.pad_token_id is None:
            raise ModelRejected(f"{name} has no padding token: its texts cannot be read together.", param="model")
        model.config.pad_token_id = tokenizer.pad_token_id


def _head(kind: Kind, labels: Sequence[str]) -> dict[str, Any]:
    return {
        "id2label": dict(enumerate(labels)), "label2id": {label: number for number, label in enumerate(labels)},
        "problem_type": PROBLEMS[kind],
    }


def _described(model: PreTrainedModel, max_length: int) -> ClassifierFile:
    """What config.json says, read as transformers reads it: one label is a value, unless told otherwise."""
    config = model.config
    if config.problem_type == PROBLEMS["multi"]:
        kind: Kind = "multi"
    else:
        kind = "regression" if config.problem_type == PROBLEMS["regression"] or config.num_labels == 1 else "single"
    names = [str(config.id2label[number]) for number in range(config.num_labels)]
    try:
        labels = check_labels(names, kind)
    except UserError as error:
        raise ModelRejected(f"The labels in config.json cannot be used: {error.message}", param="model") from None
    return ClassifierFile("encoder", kind, labels, max_length)
