"""Keeps gradio from writing stub files while it is imported."""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def without_stubs() -> Iterator[None]:
    """Within it, no class of gradio's can say which file it is from.

    gradio parses each component's source when the class is made and writes a .pyi file for editors beside it: most of
    the time of its import, and into installed packages. It leaves out classes whose file cannot be told.
    """
    found = inspect.getfile

    def getfile(object: Any) -> str:
        if inspect.isclass(object) and object.__module__.startswith("gradio."):
            raise OSError("not told while gradio is imported")
        return found(object)

    inspect.getfile = getfile
    try:
        yield
    finally:
        inspect.getfile = found
