"""A trained classifier on disk: classifier.json beside its weights, read strictly. Safetensors and JSON only."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from llm_app.classify.labels import check_labels
from llm_app.classify.types import Kind
from llm_app.engine.weights import TensorInfo, read_header, read_json
from llm_app.errors import ModelNotFound, ModelRejected, UserError

NOTE = "classifier.json"
WEIGHTS = "model.safetensors"  # of an encoder, an LSTM and a TF-IDF model; an adapter has PEFT's name
VOCABULARY = "vocabulary.json"
FORMAT = 1
FORGOTTEN = {"threshold"}  # what earlier versions wrote, always the same, and nobody read
MAX_LENGTH = 1_000_000  # tokens
MAX_VOCABULARY_BYTES = 50_000_000

Method = Literal["encoder", "lora", "lstm", "tfidf", "majority"]


@dataclass(frozen=True)
class BaseModel:
    """The model that a LoRA head was trained on: its name, and `Identity.weights` of it."""

    name: str
    weights: str


@dataclass(frozen=True)
class ClassifierFile:
    """What classifier.json says.

    `max_length`: tokens (or words) that are read of an item; `is_pair`: whether items have two texts. `temperature`:
    what logits are divided by. `shares`: of the majority baseline, what every item gets as scores. `trained`: settings,
    data and figures of the training, for people to read.
    """

    method: Method
    kind: Kind
    labels: tuple[str, ...]
    max_length: int = 512
    is_pair: bool = False
    temperature: float = 1.0
    base: BaseModel | None = None
    shares: tuple[float, ...] | None = None
    trained: Mapping[str, Any] = field(default_factory=dict)


def is_classifier(path: Path) -> bool:
    """Whether a folder says that it is a trained classifier."""
    return (path / NOTE).is_file()


def write_note(folder: Path, file: ClassifierFile) -> None:
    """Write classifier.json; what is written is read back."""
    text = json.dumps({"format": FORMAT, **asdict(file)}, indent=2, ensure_ascii=False, allow_nan=False)
    (folder / NOTE).write_text(text + "\n", encoding="utf-8")
    read_note(folder)


def read_note(folder: Path) -> ClassifierFile:
    """Check and read classifier.json.

    Raises: ModelNotFound, or ModelRejected in one sentence.
    """
    if not is_classifier(folder):
        raise ModelNotFound(f"No classifier at {folder}: {NOTE} is missing.", param="model")
    values = read_json(folder / NOTE)
    if values.get("format") != FORMAT:
        raise _rejected(f"its format is {str(values.get('format'))[:20]!r}; this program reads {FORMAT}")
    read = {name: _value(values, name, is_right) for name, is_right in _FIELDS.items() if name in values}
    for name in ("method", "kind", "labels"):
        if name not in read:
            raise _rejected(f"it does not say which {name}")
    unknown = sorted(values.keys() - read.keys() - {"format", *FORGOTTEN})
    if unknown:
        raise _rejected(f"it has {unknown[0][:60]!r}, which this program does not know")
    base, shares = read.pop("base", None), read.pop("shares", None)
    file = ClassifierFile(
        **read | {"labels": tuple(read["labels"])},
        base=BaseModel(base["name"], base["weights"]) if base else None,
        shares=tuple(map(float, shares)) if shares else None,
    )
    _check_whole(file)
    return file


def read_vocabulary(folder: Path) -> dict[str, Any]:
    """The vocabulary of an LSTM or a TF-IDF model, not yet checked. Raises: ModelRejected."""
    return read_json(folder / VOCABULARY, max_bytes=MAX_VOCABULARY_BYTES)


def check_tensors(folder: Path, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Whether the weights are these tensors and no others, by the header alone.

    Raises: ModelRejected naming the first that is wrong.
    """
    found: dict[str, TensorInfo] = {}
    if (folder / WEIGHTS).is_file():
        found = read_header(folder / WEIGHTS)
    for name, shape in shapes.items():
        if name not in found:
            raise _rejected(f"{WEIGHTS} has no tensor {name!r}")
        if found[name].shape != shape:
            raise _rejected(f"{name} has shape {found[name].shape}; {NOTE} and {VOCABULARY} make it {shape}")
    if extra := sorted(found.keys() - shapes.keys()):
        raise _rejected(f"{WEIGHTS} has a tensor {extra[0][:60]!r}, which belongs to nothing")


def _check_whole(file: ClassifierFile) -> None:
    try:
        if check_labels(file.labels, file.kind) != file.labels:
            raise _rejected("a label has space around it")
    except ModelRejected:
        raise
    except UserError as error:
        raise _rejected(error.message) from None
    if (file.method == "lora") != (file.base is not None):
        raise _rejected("a LoRA head names its base model, and nothing else does")
    if (file.method == "majority") != (file.shares is not None):
        raise _rejected("the majority baseline has shares, and nothing else does")
    if file.shares is not None and len(file.shares) != len(file.labels):
        raise _rejected(f"it has {len(file.shares)} shares for {len(file.labels)} labels")


def _value(values: Mapping[str, Any], name: str, is_right: Callable[[Any], bool]) -> Any:
    value = values[name]
    if not is_right(value):
        raise _rejected(f"{name} is {value!r:.60}")
    return value


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _is_base(value: Any) -> bool:
    if not isinstance(value, dict):
        return value is None
    return value.keys() == {"name", "weights"} and all(isinstance(text, str) for text in value.values())


def _is_list(value: Any, is_right: Callable[[Any], bool]) -> bool:
    return isinstance(value, list) and all(map(is_right, value))


_FIELDS: dict[str, Callable[[Any], bool]] = {
    "method": lambda value: value in get_args(Method),
    "kind": lambda value: value in get_args(Kind),
    "labels": lambda value: _is_list(value, lambda label: isinstance(label, str)),
    "max_length": lambda value: type(value) is int and 1 <= value <= MAX_LENGTH,
    "is_pair": lambda value: isinstance(value, bool),
    "temperature": lambda value: _is_number(value) and value > 0,
    "base": _is_base,
    "shares": lambda value: value is None or _is_list(value, _is_number),
    "trained": lambda value: isinstance(value, dict),
}


def _rejected(why: str) -> ModelRejected:
    return ModelRejected(f"The classifier cannot be used: {why}.", param="model")
