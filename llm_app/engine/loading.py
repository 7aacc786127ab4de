"""ModelConfig -> LoadedModel, as an iterator of progress that can be closed at any tensor."""

import gc
import logging
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from llm_app.config import ModelConfig, Settings
from llm_app.engine import catalog, compact, sources
from llm_app.engine.adapters import Adapters
from llm_app.engine.blocks import give_back
from llm_app.engine.branches import splits
from llm_app.engine.catalog import ModelEntry
from llm_app.engine.detokenise import TokenBytes
from llm_app.engine.failures import is_out_of_memory
from llm_app.engine.identity import Identity, digest_config, digest_files, digest_tokenizer
from llm_app.engine.packed import can_prepack, only_blocks, weight_bytes
from llm_app.engine.placing import QUANTISED, is_quantised
from llm_app.engine.probe import batches_correctly
from llm_app.engine.template import ChatTemplate
from llm_app.engine.weights import check_vocabulary
from llm_app.errors import ModelRejected, UserError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoadProgress:
    """How far a load is: `phase` is checking, reading, placing or testing; `fraction` of the whole, 0 to 1."""

    phase: str
    fraction: float


@dataclass
class LoadedModel:
    """A model ready to answer, with what is needed to ask it and to say which one it was."""

    entry: ModelEntry
    config: ModelConfig
    precision: str
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    template: ChatTemplate | None
    identity: Identity
    n_context: int
    device: torch.device
    dtype: torch.dtype
    n_bytes: int
    notes: tuple[str, ...]
    is_batchable: bool  # else replies are decoded one by one, by transformers' generate
    is_split: bool  # logits are the output layer of the last hidden states, and nothing else
    adapters: Adapters = field(init=False)
    token_bytes: TokenBytes = field(init=False)
    eos_ids: frozenset[int] = field(init=False)

    def __post_init__(self) -> None:
        self.adapters = Adapters(self.model, self.identity)
        self.token_bytes = TokenBytes(self.tokenizer)
        ends = self.model.generation_config.eos_token_id if self.model.generation_config else None
        named = ends if isinstance(ends, list) else [ends]
        self.eos_ids = frozenset(token for token in (*named, self.tokenizer.eos_token_id) if token is not None)
        # The model's own sampling defaults would creep into `generate` behind the person's options.
        pad = self.tokenizer.pad_token_id
        self.model.generation_config = GenerationConfig(eos_token_id=sorted(self.eos_ids) or None, pad_token_id=pad)

    def close(self) -> None:
        """Let go of the weights. Whoever still uses the model gets errors; call release_memory() afterwards."""
        compact.remove(self.model)
        del self.adapters, self.model


def load(config: ModelConfig, settings: Settings) -> Iterator[LoadProgress | LoadedModel]:
    """Load a model; the last item is the LoadedModel. Closing the iterator cancels, and the memory is given back.

    Raises: ModelNotFound, ModelRejected, or UserError when memory runs out or the precision does not suit the files.
    """
    try:
        yield from _load(config, settings)
    except (MemoryError, RuntimeError) as error:
        is_memory = is_out_of_memory(error)
        _forget(error)
        if not is_memory:
            raise
        raise UserError(
            f"{config.model} ran out of memory while loading. Close other programs, or choose int8 or nf4."
        ) from None
    except BaseException as error:
        _forget(error)
        raise


def _forget(error: BaseException) -> None:
    # The traceback holds the frames, and the frames hold the half-loaded model.
    traceback.clear_frames(error.__traceback__)
    release_memory()


def release_memory() -> None:
    """Give memory that is no longer used back to the system, not only to Python."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    give_back()


def choose_device(config: ModelConfig) -> torch.device:
    """Raises: UserError if a GPU is asked for and there is none."""
    has_gpu = torch.cuda.is_available()
    if config.device == "cuda" and not has_gpu:
        raise UserError("device is cuda, but torch sees no GPU here. Choose auto or cpu.", param="device")
    return torch.device("cuda" if has_gpu and config.device != "cpu" else "cpu")


def choose_precision(entry: ModelEntry, config: ModelConfig, device: torch.device) -> str:
    """What `auto` means for these files on this device.

    Raises: UserError if packed blocks are asked of files that have none.
    """
    is_gguf = entry.path.suffix == ".gguf"
    if config.precision == "gguf" and not is_gguf:
        raise UserError(
            f"Precision gguf keeps the blocks of a .gguf file, and {entry.id} is a folder of dense weights. "
            "Choose bf16, or int8, nf4 or fp4 to use less memory.",
            param="precision",
        )
    if config.precision != "auto":
        return config.precision
    if is_gguf and device.type == "cpu":  # no other device multiplies with blocks
        return "gguf"
    is_fast = torch.cuda.is_bf16_supported() if device.type == "cuda" else can_prepack()
    return "bf16" if is_fast else "fp32"


def _load(config: ModelConfig, settings: Settings) -> Iterator[LoadProgress | LoadedModel]:
    yield LoadProgress("checking", 0.0)
    entry = catalog.find_model(config.model, settings)
    device = choose_device(config)
    precision = choose_precision(entry, config, device)
    source = sources.open_source(entry)
    yield LoadProgress("checking", 0.02)
    tokenizer = source.tokenizer()
    template = ChatTemplate.of(tokenizer)
    yield LoadProgress("reading", 0.05)
    notes = [] if template else ["no chat template: plain completion used"]
    model, made_notes = None, []
    for event in source.build(precision, device):
        if isinstance(event, sources.Built):
            model, precision, made_notes = event.model, event.precision, event.notes
        else:
            yield LoadProgress("reading", 0.05 + 0.85 * event)
    assert model is not None
    if precision in QUANTISED and not is_quantised(model):
        made_notes = [*made_notes, f"no layer of this architecture takes {precision}: loaded in bf16"]
        precision = "bf16"
    check_vocabulary(len(tokenizer), model.get_input_embeddings().num_embeddings)
    yield LoadProgress("testing", 0.92)
    _probe(model, precision)
    n_context, context_note = _context(model, config)
    yield LoadProgress("testing", 0.96)
    with only_blocks(model):  # else a difference would say which of its weights a pass took
        is_batchable = batches_correctly(model, n_context)
    if is_batchable:
        compact.install(model)
    else:
        notes.append("this architecture cannot be batched: replies go through transformers' generate")
        log.warning("%s cannot be batched; replies go through generate", entry.name)
    yield LoadedModel(
        entry, config, precision, model, tokenizer, template,
        Identity(
            weights=digest_files(source.files, settings), adapter="", quantization=precision,
            tokenizer=digest_tokenizer(tokenizer), template=template.digest if template else "",
            config=digest_config(model),
        ),
        n_context, device, model.dtype, weight_bytes(model, *compact.joined(model)),
        (*notes, *made_notes, *context_note), is_batchable, splits(model),
    )


@torch.inference_mode()
def _probe(model: PreTrainedModel, precision: str) -> None:
    """One token through the whole model, so that a missing kernel or a broken weight shows now.

    Raises: ModelRejected if what comes out is not finite, UserError if this architecture does not take the precision.
    """
    try:
        logits = model(torch.zeros(1, 1, dtype=torch.long, device=model.device), use_cache=False).logits
    except (RuntimeError, TypeError) as error:
        if precision not in QUANTISED or is_out_of_memory(error):
            raise
        problem = f"A {model.config.model_type} model does not run in {precision}. Choose bf16 or fp32."
        raise UserError(problem, param="precision") from error
    if not torch.isfinite(logits).all():
        raise ModelRejected("The model computes NaN or infinity. Its files may be damaged; download it again.")


def _context(model: PreTrainedModel, config: ModelConfig) -> tuple[int, list[str]]:
    own = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    asked = config.context_length
    if own is None:  # models without positions, such as Mamba
        return asked or 32_768, []
    if asked > own:
        return own, [f"context length {asked:,} is more than the model's own; {own:,} is used"]
    return asked or own, []
