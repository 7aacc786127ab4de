"""A trained tagger on disk: tagger.json beside its weights, read strictly. Safetensors and JSON only.

The folder of an encoder is one of transformers as well, which its AutoModelForTokenClassification loads as it is.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from llm_app.classify.entities.decode import bio_labels, types_of
from llm_app.classify.labels import MAX_LABELS
from llm_app.engine.weights import read_json
from llm_app.errors import ModelRejected

NOTE = "tagger.json"
FORMAT = 1
FIELDS = {"format", "method", "labels", "max_length", "trained"}

Method = Literal["encoder", "features"]


@dataclass(frozen=True)
class TaggerFile:
    """What tagger.json says.

    `labels`: O, and the beginning and middle of each type; `max_length`: tokens that are read of a sentence, None for
    all; `trained`: settings, data and figures of the training, for people to read.
    """

    method: Method
    labels: tuple[str, ...]
    max_length: int | None
    trained: Mapping[str, Any] = field(default_factory=dict)


def is_tagger(path: Path) -> bool:
    """Whether a folder says that it is a tagger trained here."""
    return (path / NOTE).is_file()


def write_note(folder: Path, file: TaggerFile) -> None:
    """Write tagger.json; what is written is read back."""
    text = json.dumps({"format": FORMAT, **asdict(file)}, indent=2, ensure_ascii=False, allow_nan=False)
    (folder / NOTE).write_text(text + "\n", encoding="utf-8")
    read_note(folder)


def read_note(folder: Path) -> TaggerFile:
    """Check and read tagger.json.

    Raises: ModelRejected in one sentence.
    """
    values = read_json(folder / NOTE)
    if values.get("format") != FORMAT:
        raise _rejected(f"its format is {str(values.get('format'))[:20]!r}; this program reads {FORMAT}")
    if values.keys() != FIELDS:
        name = sorted(values.keys() ^ FIELDS)[0][:60]
        raise _rejected(f"{name!r} is {'missing' if name in FIELDS else 'nothing that this program knows'}")
    labels, max_length, trained = values["labels"], values["max_length"], values["trained"]
    if values["method"] not in get_args(Method):
        raise _rejected(f"its method is {str(values['method'])[:60]!r}")
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise _rejected("its labels are no list of names")
    if not 3 <= len(labels) <= MAX_LABELS or tuple(labels) != bio_labels(types_of(labels)):
        raise _rejected("its labels are not O, and B- and I- of each type")
    if (max_length is not None and not (type(max_length) is int and max_length > 0)) or not isinstance(trained, dict):
        raise _rejected("max_length is no number of tokens, or trained is no object")
    return TaggerFile(values["method"], tuple(labels), max_length, trained)


def _rejected(why: str) -> ModelRejected:
    return ModelRejected(f"The tagger cannot be used: {why}.", param="model")
