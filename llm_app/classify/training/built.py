"""The networks that learn, each made for a table's labels, and what each leaves in its folder."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from llm_app.classify.config import ClassifierConfig
from llm_app.classify.encoder import EncoderNetwork, new_encoder
from llm_app.classify.folder import VOCABULARY, WEIGHTS, BaseModel
from llm_app.classify.lora_head import LoraHeadNetwork
from llm_app.classify.lstm import LstmModel, LstmNetwork, vocabulary_of
from llm_app.classify.training.learner import Learner
from llm_app.classify.training.targets import Problem
from llm_app.classify.types import Item
from llm_app.config import ModelConfig, Settings
from llm_app.engine.adapter_file import CONFIG, HEAD, SEQ_CLS
from llm_app.engine.adapter_file import WEIGHTS as ADAPTER_WEIGHTS
from llm_app.engine.catalog import embedded_encoder, find_model, public_name
from llm_app.engine.identity import digest_files
from llm_app.engine.loading import choose_device
from llm_app.engine.plain_folder import PlainFolder, copied, write_plain
from llm_app.engine.weights import CLASSIFIES
from llm_app.training.base import Base, compute_dtype, load_base
from llm_app.training.config import TrainConfig
from llm_app.training.lora import Lora, add_lora
from llm_app.training.lora_config import as_json, lora_config

LORA_DROPOUT, HEAD_DEVIATION = 0.05, 0.02
EMBEDDED = "embedded"


@dataclass(frozen=True)
class Built:
    """A network ready to learn. `identity`: digests of what it began from; `max_length`: tokens that it reads.

    `base`: what it needs to be used again; `tuned`: of a LoRA head, the model beneath, its adapter and its options.
    """

    learner: Learner
    identity: Mapping[str, str]
    dtype: torch.dtype
    device: torch.device
    max_length: int = 0
    base: BaseModel | None = None
    tuned: tuple[Base, Lora, TrainConfig] | None = None
    notes: tuple[str, ...] = ()

    def write(self, folder: Path) -> None:
        """Weights and all that belongs to them but classifier.json, in an empty folder that is there."""
        network = self.learner.network
        if self.tuned is not None:
            _write_adapter(folder, self.learner, *self.tuned)
        elif isinstance(network, EncoderNetwork):
            write_plain(folder, network.module, network.tokenizer)
        elif isinstance(network, LstmNetwork):
            save_file(copied(network.module), folder / WEIGHTS, metadata={"format": "pt"})
            text = json.dumps({"words": network.vocabulary}, ensure_ascii=False)
            (folder / VOCABULARY).write_text(text + "\n", encoding="utf-8")


def build(
    base: str | None, problem: Problem, items: Sequence[Item], config: ClassifierConfig, settings: Settings
) -> Built:
    """A network with a new head. `base`: the name of the model that it begins from; `items`: those it learns from.

    The seed decides all weights that are new.
    Raises: ModelNotFound, ModelRejected, or UserError if the base cannot be trained.
    """
    device = choose_device(ModelConfig(device="auto"))
    if config.method == "encoder":
        return _encoder(base or EMBEDDED, problem, config, settings, device)
    if config.method == "lora":
        return _lora(base or EMBEDDED, problem, config, settings, device)
    vocabulary = vocabulary_of(items)
    torch.manual_seed(config.seed)
    model = LstmModel(len(vocabulary), len(problem.labels)).to(device)
    network = LstmNetwork(model, vocabulary, config.max_length)
    return Built(Learner(network, model.named_parameters(), model.head), {}, torch.float32, device, config.max_length)


def encoder_folder(name: str, settings: Settings) -> Path:
    """Where the encoder of that name lies. Raises: ModelNotFound."""
    return embedded_encoder() if name == EMBEDDED else find_model(name, settings).path


def _encoder(
    base: str, problem: Problem, config: ClassifierConfig, settings: Settings, device: torch.device
) -> Built:
    folder = PlainFolder(encoder_folder(base, settings), CLASSIFIES)
    torch.manual_seed(config.seed)
    network = new_encoder(folder, problem.kind, problem.labels, config.max_length, device)
    dtype = compute_dtype(config.precision, device)
    head = _head_of(network.module, len(problem.labels))
    learner = Learner(network, network.module.named_parameters(), head, dtype=dtype)
    return Built(learner, {"weights": digest_files(folder.files, settings)}, dtype, device, network.max_length)


def _head_of(module: nn.Module, n_outputs: int) -> nn.Linear:
    """The last layer with as many outputs as there are labels: heads are made of one layer or of several."""
    return [each for each in module.modules() if isinstance(each, nn.Linear) and each.out_features == n_outputs][-1]


def _lora(base: str, problem: Problem, config: ClassifierConfig, settings: Settings, device: torch.device) -> Built:
    tuning = TrainConfig(
        rank=config.rank, alpha=2.0 * config.rank, dropout=LORA_DROPOUT, seed=config.seed, precision=config.precision
    )
    loaded = load_base(find_model(base, settings), tuning, settings, device)
    lora = add_lora(loaded.model, tuning)  # seeds what is drawn after it, too
    head = nn.Linear(_n_hidden(loaded), len(problem.labels), bias=False, device=device)
    nn.init.normal_(head.weight, std=HEAD_DEVIATION)
    max_length = min(config.max_length, loaded.n_context)
    network = LoraHeadNetwork(loaded.model, head, loaded.tokenizer, max_length)
    trained = [*lora.parameters(), *((HEAD, weight) for weight in head.parameters())]
    learner = Learner(network, trained, head, moment=lora.moment)
    identity = loaded.identity
    return Built(
        learner, {"weights": identity.weights, "tokenizer": identity.tokenizer, "config": identity.config},
        loaded.dtype, device, max_length, BaseModel(base, identity.weights), (loaded, lora, tuning), loaded.notes,
    )  # fmt: skip


def _n_hidden(base: Base) -> int:
    return int(base.model.config.get_text_config().hidden_size)


def _write_adapter(folder: Path, learner: Learner, base: Base, lora: Lora, tuning: TrainConfig) -> None:
    """In PEFT's layout, the head with it."""
    made = lora_config(base.model, tuning, lora.targets, public_name(base.entry))
    made.inference_mode, made.task_type, made.modules_to_save = True, SEQ_CLS, ["classifier", "score"]
    text = json.dumps(as_json(made), indent=2, sort_keys=True, ensure_ascii=False)
    (folder / CONFIG).write_text(text + "\n", encoding="utf-8")
    named = learner.weights.named()
    save_file({name: named[name] for name in sorted(named)}, folder / ADAPTER_WEIGHTS, metadata={"format": "pt"})

