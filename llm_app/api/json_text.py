"""Answers written as JSON, also those of many megabytes."""

import io
import json
from collections.abc import Callable, Mapping
from typing import Any

from starlette.responses import Response


def json_text(value: Mapping[str, Any]) -> str:
    """The value as JSON. Write large ones on a worker thread."""
    # json.dumps holds the interpreter from the first byte to the last, on any thread; json.dump lets others run.
    text = io.StringIO()
    json.dump(value, text, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.getvalue()


def json_answer(build: Callable[[], Mapping[str, Any]]) -> Response:
    """What `build` gives, as a response; both may take seconds, so they belong on a worker thread together."""
    return Response(json_text(build()), media_type="application/json")
