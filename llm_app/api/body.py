"""A request body as JSON, read strictly: what two parsers could read differently is refused."""

import json
import math
from email.message import Message as MimeHeader
from typing import Any, NoReturn, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError

from llm_app.api.errors import HttpError, from_validation, quoted
from llm_app.errors import UserError

Form = TypeVar("Form", bound=BaseModel)


async def read_body(request: Request, form: type[Form]) -> Form:
    """The body as `form`.

    Raises: UserError naming the parameter; 415 for anything but JSON.
    """
    _check_content_type(request.headers.get("content-type", ""))
    data = await request.body()
    value = parse_json(data)
    if not isinstance(value, dict):
        raise UserError("The body must be a JSON object.")
    if b"\\u" in data:  # only an escape can bring half a surrogate pair
        _check_unicode(value)
    try:
        return form.model_validate(value)
    except ValidationError as error:
        raise from_validation(error.errors(include_url=False, include_input=False)) from None


def body_schema(form: type[BaseModel]) -> dict[str, Any]:
    """The form as part of /openapi.json, definitions in place."""
    schema = form.model_json_schema(ref_template="#/components/schemas/{model}")
    definitions = schema.pop("$defs", {})
    content = {"application/json": {"schema": _inline(schema, definitions)}}
    return {"requestBody": {"required": True, "content": content}}


def _inline(schema: Any, definitions: dict[str, Any]) -> Any:
    if isinstance(schema, list):
        return [_inline(part, definitions) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _inline(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    return {name: _inline(part, definitions) for name, part in schema.items()}


def parse_json(data: bytes) -> Any:
    """UTF-8 JSON without byte-order mark, duplicate keys, NaN, infinities or bottomless nesting.

    Raises: UserError saying what is wrong and where.
    """
    if data.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        raise UserError("The body starts with a byte-order mark. Send plain UTF-8.")
    try:
        text = data.decode("utf-8")
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite)
    except UnicodeDecodeError as error:
        raise UserError(f"The body is not UTF-8 (byte {error.start}).") from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise UserError(f"The body is not valid JSON: {error.msg} ({where}).") from None
    except RecursionError:
        raise UserError("The body is nested too deeply.") from None
    except ValueError:
        # Python converts no integer of more than 4,300 digits.
        raise UserError("The body holds a number that is too long.") from None


def _check_content_type(value: str) -> None:
    header = MimeHeader()
    header["content-type"] = value
    charset = header.get_param("charset", "utf-8")
    if not value or header.get_content_type() != "application/json":
        raise HttpError(415, "unsupported_media_type", "Send the body with Content-Type: application/json.")
    if str(charset).lower() not in ("utf-8", "utf8"):
        raise HttpError(415, "unsupported_media_type", "Send the body in UTF-8.")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise UserError(f"The key {quoted(name, 100)} occurs twice.", param=quoted(name, 100))
            seen.add(name)
    return found


def _no_constant(name: str) -> NoReturn:
    raise UserError(f"{name} is not a JSON number.")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise UserError(f"The number {text[:40]} is too large.")
    return value


def _check_unicode(fields: dict[str, Any]) -> None:
    """Half a surrogate pair cannot be written as UTF-8 and would break whatever stores or sends it later."""
    for name, value in fields.items():
        try:
            (name + json.dumps(value, ensure_ascii=False)).encode()
        except UnicodeEncodeError:
            param = quoted(name, 100)
            message = f"{param} holds text that is not valid Unicode (half of a surrogate pair)."
            raise UserError(message, param=param) from None
