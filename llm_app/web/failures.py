"""What went wrong, said to the person and written to the log: one sentence there, the rest here."""

import logging
import secrets
from collections.abc import Callable
from typing import Any

from gradio.components import Component

from llm_app.errors import UserError
from llm_app.logs import one_line_traceback
from llm_app.web.text import ERRORS_ZH, both, filled, pair
from llm_app.web.views import notice

log = logging.getLogger(__name__)


class SentenceError(UserError):
    """A mistake that the page itself finds, said in both languages."""

    def __init__(self, name: str, **values: object) -> None:
        self.text = filled(name, **values)
        super().__init__(self.text[0], message_zh=self.text[1])


def error_notice(error: Exception, request_id: str) -> str:
    """What went wrong, what to do, and a number to ask about; never a trace, a path or a class name."""
    return notice(f"{error_html(error)} {request_html(request_id)}", "error")


def failed(error: Exception) -> str:
    """The same, under a number of its own, and noted in the log."""
    request_id = secrets.token_hex(4)
    note_error(error, request_id)
    return error_notice(error, request_id)


def tried(told: Component, act: Callable[[], dict[Any, Any]]) -> dict[Any, Any]:
    """What came of it, or, where it is `told`, what went wrong; all else of the form stays as it is then."""
    try:
        return {told: "", **act()}
    except Exception as error:
        return {told: failed(error)}


def error_html(error: Exception) -> str:
    """The sentence for one error, in both languages."""
    if not isinstance(error, UserError):
        return both("internal_error")
    if error.message_zh:
        return pair((error.message, error.message_zh))
    meaning = ERRORS_ZH.get(error.code)
    chinese = f"{meaning}：{error.message}" if meaning else error.message
    return pair((error.message, chinese))


def request_html(request_id: str) -> str:
    """The request number, set apart."""
    return f'<span class="request">{both("request", id=request_id)}</span>'


def note_error(error: Exception, request_id: str) -> None:
    """Log what the page does not show, under the number that it does show."""
    if isinstance(error, UserError):
        log.info("request %s: %s", request_id, error.message)
    else:
        log.error("request %s: %s", request_id, one_line_traceback(error))
