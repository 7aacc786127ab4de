"""What a visit fetches besides its events: the page itself, and eighty scripts and style sheets of gradio's.

gradio sends the page as it is, and reads and compresses each file anew for every visitor, in threads that wait while
a model is being loaded.
"""

import gzip
import mimetypes
from pathlib import Path

import gradio as gr
from starlette.exceptions import HTTPException
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

FOLDER = Path(gr.__file__).parent / "templates" / "frontend" / "assets"
# A name has a hash of what is in the file: what a browser has once got under it never changes.
KEPT = {"Cache-Control": "public, max-age=31536000, immutable", "Vary": "Accept-Encoding"}
PACKED = {".js": "text/javascript", ".css": "text/css"}  # the others are pictures and fonts
QUICK, SMALL = 4, 9  # zlib's levels: for what is compressed for each visitor, and for what is compressed once


class Assets:
    """The files of one folder, in memory from the first time that they are asked for."""

    def __init__(self) -> None:
        self._paths = {path.name: path for path in FOLDER.iterdir()}
        self._read: dict[str, bytes] = {}
        self._packed: dict[str, bytes] = {}

    async def answer(self, request: Request) -> Response:
        """One file. No path is made of what was asked for: it is looked up among the names that there are.

        Raises: HTTPException(404).
        """
        path = self._paths.get(request.path_params["name"])
        if path is None:
            raise HTTPException(404)
        if path.name not in self._read:
            self._read[path.name] = path.read_bytes()
        kind = PACKED.get(path.suffix) or mimetypes.guess_type(path.name)[0]
        if path.suffix not in PACKED or "gzip" not in request.headers.get("accept-encoding", ""):
            return Response(self._read[path.name], media_type=kind, headers=KEPT)
        if path.name not in self._packed:
            self._packed[path.name] = gzip.compress(self._read[path.name], compresslevel=SMALL)
        return Response(self._packed[path.name], media_type=kind, headers=KEPT | {"Content-Encoding": "gzip"})


def assets_route() -> Route:
    """The route that serves them, to stand before gradio's own."""
    return Route("/assets/{name}", Assets().answer, include_in_schema=False)


class PackPage:
    """Compresses the page: an eighth of its bytes go over the wire. Everything else passes as it is."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._packing = GZipMiddleware(app, compresslevel=QUICK)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        is_page = scope["type"] == "http" and scope["path"] == "/"
        await (self._packing if is_page else self._app)(scope, receive, send)
