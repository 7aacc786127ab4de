"""What lies on the data desk, as the browser remembers it over a reload; read back, nothing of it is trusted."""

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import llm_app.data
from llm_app.config import Settings
from llm_app.data.mix import DatasetSpec
from llm_app.data.table import Reading
from llm_app.web.failures import SentenceError
from llm_app.web.tune.data_shelf import DataShelf

EXAMPLE = Path(llm_app.data.__file__).parent / "examples" / "calendar.jsonl"
ENCODINGS = ("utf-8", "utf-16", "gb18030", "big5", "shift_jis", "euc_kr", "cp1252")
MAX_CHARACTERS, MAX_PATH = 400_000, 1_000
THE_EXAMPLE = "example"


def written(data: Sequence[DatasetSpec], settings: Settings) -> str:
    """The data sets as a word without signs that mean something in HTML.

    The folders of a public page's server are nobody's business: an upload is named by its place on the visitor's shelf.
    """
    if not data:
        return ""
    rows = [spec.to_json() | {"path": _place(Path(spec.path), settings)} for spec in data]
    return base64.b64encode(json.dumps(rows).encode()).decode()


def read(word: object, settings: Settings, shelf: DataShelf) -> tuple[tuple[DatasetSpec, ...], int]:
    """The data sets that `written` wrote, and how many of them are no longer there.

    They are read anew: what a file holds now is what a run takes. Raises: UserError for anything else.
    """
    try:
        if not isinstance(word, str) or len(word) > MAX_CHARACTERS:
            raise ValueError(word)
        rows = json.loads(base64.b64decode(word, validate=True))
        specs = [_spec(row, settings, shelf) for row in rows]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, binascii.Error):
        raise SentenceError("wrong_value") from None
    found = tuple(spec for spec in specs if Path(spec.path).is_file())
    return found, len(specs) - len(found)


def _place(path: Path, settings: Settings) -> str:
    if path == EXAMPLE:
        return THE_EXAMPLE
    return f"{path.parent.name}/{path.name}" if settings.is_public else str(path)


def _spec(row: dict[str, Any], settings: Settings, shelf: DataShelf) -> DatasetSpec:
    spec = DatasetSpec.from_json(row)
    if spec.reading not in (Reading(), *(Reading(encoding=name) for name in ENCODINGS)) or len(spec.path) > MAX_PATH:
        raise ValueError(row)
    if spec.path == THE_EXAMPLE:
        return replace(spec, path=str(EXAMPLE), sha256="")
    path = shelf.root / spec.path if settings.is_public else Path(spec.path)
    if settings.is_public and not shelf.holds(path):
        path = shelf.root  # no file: it was thrown away meanwhile, or never was
    return replace(spec, path=str(path), sha256="")


