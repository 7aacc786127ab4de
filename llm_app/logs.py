"""One line an event on stderr: what a person typed cannot start a line of its own or colour the terminal."""

import logging
import re
import traceback

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def one_line(text: str) -> str:
    """The text with control characters, line separators and direction marks written out."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def one_line_traceback(error: BaseException) -> str:
    """The traceback on one line, for a log line that says more before it."""
    return one_line("".join(traceback.format_exception(error)).rstrip())


class OneLine(logging.Formatter):
    """Time, level, logger and message; a traceback follows on the same line, its line ends written as \\n."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """The record as a single line."""
        return one_line(super().format(record))


def configure_logging(level: int = logging.WARNING) -> None:
    """Send the log of this program and of its libraries to stderr. Requests are not logged: prompts are private."""
    handler = logging.StreamHandler()
    handler.setFormatter(OneLine())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("llm_app").setLevel(level)
    # It warns at import that a kernel from the hub is missing, which this program never fetches.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    # Clients that close a connection or send garbage are no event of ours.
    logging.getLogger("uvicorn").setLevel(logging.ERROR)
