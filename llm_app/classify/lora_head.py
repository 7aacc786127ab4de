"""A LoRA adapter with a classification head on a causal model: the state after an item's last token decides.

The folder is PEFT's, of task type SEQ_CLS. The base stays the one that is loaded: chats go on with it in between.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from llm_app.classify.cut import kept_of_pair
from llm_app.classify.folder import BaseModel, ClassifierFile
from llm_app.classify.network import NetworkClassifier, Row, padded
from llm_app.classify.types import Item, Outcome
from llm_app.config import ModelConfig
from llm_app.engine.adapter_file import SEQ_CLS, read_adapter
from llm_app.engine.encoding import Encoding
from llm_app.engine.host import Host
from llm_app.errors import ModelRejected, UserError

BETWEEN = "\n"  # the two texts of a pair


class LoraHeadNetwork:
    """The body of a causal model, and a linear layer (hidden size -> labels) on its last state.

    Which adapter is active in the body is for others to say. `max_length`: tokens.
    """

    def __init__(
        self, model: PreTrainedModel, head: nn.Linear, tokenizer: PreTrainedTokenizerBase, max_length: int
    ) -> None:
        self.module: nn.Module = nn.ModuleList([model, head])
        self.head = head
        self._body: nn.Module = model.get_decoder()
        self._encoding = Encoding(tokenizer)
        self._max_length = max_length

    def rows(self, items: Sequence[Item]) -> list[Row]:
        """As the tokenizer begins a text, a pair on two lines; what is too long loses its end, of a pair the longer."""
        texts = [item.text if item.pair is None else f"{item.text}{BETWEEN}{item.pair}" for item in items]
        return [self._row(item, ids) for item, ids in zip(items, self._encoding.text_ids(texts), strict=True)]

    def _row(self, item: Item, ids: Sequence[int]) -> Row:
        if item.pair is not None and len(ids) > self._max_length:
            first, second = self._encoding.text_ids([item.text])[0], self._encoding.plain_ids(f"{BETWEEN}{item.pair}")
            n_first, n_second = kept_of_pair(len(first), len(second), self._max_length)
            n_cut = len(first) + len(second) - n_first - n_second
            return Row((*first[:n_first], *second[:n_second]), n_cut=n_cut)
        kept = tuple(ids[: self._max_length])
        return Row(kept or (self._encoding.prefix_token,), n_cut=len(ids) - len(kept))

    def logits(self, rows: Sequence[Row]) -> Tensor:
        """(rows, labels)."""
        # Padding stands behind the text, where no token of a causal model looks: which token it is does not matter.
        ids, mask = padded(rows, 0, self.head.weight.device)
        states = self._body(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
        last = torch.tensor([len(row.ids) - 1 for row in rows], device=states.device)
        logits: Tensor = self.head(states[torch.arange(len(rows), device=states.device), last].float())
        return logits.float()


class LoraClassifier(NetworkClassifier):
    """Switches its adapter on inside the loaded base for each of its passes."""

    def __init__(
        self, folder: Path, file: ClassifierFile, host: Host, *, is_strict: bool = False, has_own_base: bool = False
    ) -> None:
        """`has_own_base`: the host was made for this classifier alone, and goes with it."""
        self._folder, self._host, self._loaded = folder, host, host.loaded
        self.has_own_base = has_own_base
        adapter = read_adapter(folder, SEQ_CLS)
        # Among the adapters of the base, where no menu offers it; not by its folder, which others may be called too.
        self._name = f"classifier {adapter.digest}"
        assert adapter.head is not None
        network = LoraHeadNetwork(
            self._loaded.model, _head(adapter.head, file, self._loaded.model), self._loaded.tokenizer,
            min(file.max_length, self._loaded.n_context),
        )
        identity = self._loaded.identity.with_adapter(adapter.digest).digest()
        super().__init__(network, file, {"weights": identity}, host.turn, is_strict=is_strict)

    def close(self) -> None:
        """Give back the base that was loaded for this classifier alone; one that chats use too stays."""
        if self.has_own_base:
            self._host.unload()

    def predict(self, items: Sequence[Item]) -> Iterator[Outcome]:
        """One outcome an item; closing stops between two passes.

        Raises: ModelRejected if the adapter does not fit the base; UserError if another model takes its place.
        """
        with self._loaded.adapters.lent(self._folder, name=self._name, turn=self.turn, task=SEQ_CLS):
            yield from super().predict(items)

    def _logits(self, rows: Sequence[Row]) -> Tensor:
        if self._host.loaded is not self._loaded:
            raise UserError("Another model was loaded meanwhile. Open the classifier again.")
        self._loaded.adapters.use(self._name)
        return super()._logits(rows)


def open_lora(folder: Path, file: ClassifierFile, host: Host, *, is_strict: bool = False) -> LoraClassifier:
    """On the host's model if that is the base, else on one that is loaded for this, and takes turns with the host's.

    Whoever opens it closes it. Raises: ModelRejected if what is loaded under the base's name is not the base.
    """
    assert file.base is not None
    if _holds(host, file.base):
        return LoraClassifier(folder, file, host, is_strict=is_strict)
    own = Host(host.settings, turn=host.turn)
    for _ in own.load(ModelConfig(file.base.name)):
        pass
    try:
        if not _holds(own, file.base):
            raise ModelRejected(
                f"{folder.name} was trained on {file.base.name} with weights {file.base.weights[:12]}; the model of"
                " that name has other weights.", param="model",
            )
        return LoraClassifier(folder, file, own, is_strict=is_strict, has_own_base=True)
    except BaseException:
        own.unload()
        raise


def _holds(host: Host, base: BaseModel) -> bool:
    return host.status().state == "ready" and host.loaded.identity.weights == base.weights


def _head(weight: Tensor, file: ClassifierFile, model: PreTrainedModel) -> nn.Linear:
    n_hidden = model.get_input_embeddings().embedding_dim
    shape = len(file.labels), int(getattr(model.config.get_text_config(), "hidden_size", n_hidden))
    if tuple(weight.shape) != shape:
        raise ModelRejected(
            f"The classifier cannot be used: its head has shape {tuple(weight.shape)}, not {shape}.",
            param="model",
        )
    head = nn.Linear(shape[1], shape[0], bias=False, device=model.device)
    with torch.no_grad():
        head.weight.copy_(weight)
    return head.requires_grad_(False)
