"""How a command says what it does: on stderr, so that stdout holds the result alone."""

import sys
import time
from collections.abc import Iterable, Iterator

LINE_SECONDS = 5.0  # between progress lines


def say(text: str, *, is_last: bool = True) -> None:
    """A line. On a terminal passing ones overwrite each other; elsewhere only those with a progress bar stay."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="\n" if is_last else "", file=sys.stderr, flush=True)
    elif is_last or text.startswith("["):
        print(text, file=sys.stderr, flush=True)


def progress(steps: Iterable[tuple[int, int]]) -> Iterator[str]:
    """Of steps as (done, total), each as soon as it is made: every few seconds how far it is, and how long is left."""
    started, shown, first = time.monotonic(), 0.0, None
    for done, total in steps:
        now = time.monotonic()
        first = done - 1 if first is None else first
        if now - shown >= LINE_SECONDS or done == total:
            shown = now
            left = (now - started) / (done - first) * (total - done)
            yield f"[{'#' * (20 * done // total):<20}] {done:,}/{total:,}, about {left:.0f} s left"
