"""How a command says what it does: on stderr, so that stdout holds the result alone."""

import sys


def say(text: str, *, is_last: bool = True) -> None:
    """A line. On a terminal passing ones overwrite each other; elsewhere only those with a progress bar stay."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="\n" if is_last else "", file=sys.stderr, flush=True)
    elif is_last or text.startswith("["):
        print(text, file=sys.stderr, flush=True)
