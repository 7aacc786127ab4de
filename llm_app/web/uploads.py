"""The folder into which gradio writes uploads: what broke off leaves nothing there."""

import contextlib
import math
import os
import re
import time
from pathlib import Path

from starlette.types import ASGIApp, Receive, Scope, Send

PATH = "/gradio_api/upload"
LONGEST_SECONDS = 60.0  # that an upload can take; its body is cut off earlier
_UNFINISHED = re.compile(r"tmp\w{8}")  # gradio gives what is whole a folder of its own


class TidyUploads:
    """Deletes what uploads left unfinished: gradio does so only where it refused them itself, not where they broke off.

    Which file belongs to which request nobody says: all go when no upload is under way, else those that are too old.
    """

    def __init__(self, app: ASGIApp, folder: Path) -> None:
        self._app, self._folder = app, folder
        self._n_active = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or scope["path"].rstrip("/") != PATH:
            await self._app(scope, receive, send)
            return
        self._n_active += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._n_active -= 1
            self._tidy()

    def _tidy(self) -> None:
        newest = time.time() - LONGEST_SECONDS if self._n_active else math.inf
        with contextlib.suppress(OSError), os.scandir(self._folder) as entries:
            for entry in entries:
                if _UNFINISHED.fullmatch(entry.name) and entry.is_file() and entry.stat().st_mtime < newest:
                    os.unlink(entry)
