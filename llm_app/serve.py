"""Puts the program together and serves it: page and API on one port, the model loading behind them."""

import gc
import logging
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from llm_app.config import ModelConfig, ServeConfig, Settings
from llm_app.errors import UserError

if TYPE_CHECKING:
    from llm_app.http_server import Server
    from llm_app.services import Services

log = logging.getLogger(__name__)

# Below these, known holes of the package are open (shared cookies, form limits) or a kernel is missing.
LOAD_NICENESS = 10  # of the thread that loads the first model
FLOORS = {"torch": (2, 10), "starlette": (1, 3, 1), "gradio": (6, 20)}


def serve(config: ServeConfig, model: ModelConfig, settings: Settings) -> NoReturn:
    """Serve until a signal comes, then end the process.

    Raises: UserError if a package, the home folder, the port or the model is not as needed.
    """
    # Until the server handles it: an orderly end, without a traceback from the middle of an import.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    gc.disable()  # a quarter of the time of the imports, which leave next to nothing to collect; `settle_heap` ends it
    check_packages()
    check_home(settings.home)
    if settings.is_public:
        _close_to_the_hub()
    listener = open_port(config.host, config.port)
    with listener, _private_folder() as folder:
        config, model = _from_any_folder(config, model)
        os.chdir(folder)
        server = _build_server(config, model, settings, url=_url(listener))
        server.run(sockets=[listener])
    from llm_app.http_server import end_process

    end_process()


def check_packages() -> None:
    """Installed and not older than the floors."""
    for name, floor in FLOORS.items():
        try:
            installed = version(name)
        except PackageNotFoundError:
            raise UserError(f"The package {name} is not installed. Run: pip install -r requirements.txt") from None
        if _release(installed) < floor:
            wanted = ".".join(map(str, floor))
            raise UserError(f"{name} {installed} is too old, {wanted} is needed. Run: pip install -r requirements.txt")


def _release(text: str) -> tuple[int, ...]:
    """(2, 13, 0) of "2.13.0+cpu"; what is no number ends it."""
    numbers = []
    for part in text.split("+")[0].split("."):
        if not part.isdigit():
            break
        numbers.append(int(part))
    return tuple(numbers)


def check_home(home: Path) -> None:
    """Make the home folder if need be and write in it once."""
    try:
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=home):
            pass
    except OSError as error:
        raise UserError(
            f"Cannot write in {home} ({error.strerror}). Set PROOFBENCH_HOME to a folder that you may write in."
        ) from None


def open_port(host: str, port: int) -> socket.socket:
    """A listening socket. Early callers wait in its backlog while the program puts itself together."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise UserError(f"Cannot listen on {host}: {error.strerror}.", param="host") from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(2048)
    except OSError as error:
        listener.close()
        raise UserError(
            f"Cannot listen on {host}:{port}: {error.strerror}. Choose another port with --port.", param="port"
        ) from None
    return listener


def _url(listener: socket.socket) -> str:
    """The address to type into a browser on this machine."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{host}:{port}"


def _close_to_the_hub() -> None:
    """A public demo runs what it was built with: no download, and no token that a fault could show."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        os.environ.pop(name, None)


@contextmanager
def _private_folder() -> Iterator[Path]:
    """Empty folders of this process: gradio may hand out copies of what lies in the working and temporary folders."""
    root = Path(tempfile.mkdtemp(prefix="proofbench-"))
    work, temporary, uploads = root / "work", root / "tmp", root / "uploads"
    for folder in (work, temporary, uploads):
        folder.mkdir()
    before = tempfile.tempdir
    tempfile.tempdir = os.environ["TMPDIR"] = str(temporary)
    os.environ["GRADIO_TEMP_DIR"] = str(uploads)
    try:
        yield work
    finally:
        os.chdir("/")
        tempfile.tempdir = before
        shutil.rmtree(root, ignore_errors=True)


def _from_any_folder(config: ServeConfig, model: ModelConfig) -> tuple[ServeConfig, ModelConfig]:
    """Paths relative to where the person stands, made absolute before the working folder changes."""
    if config.api_key_file is not None:
        config = replace(config, api_key_file=os.path.abspath(os.path.expanduser(config.api_key_file)))
    if os.path.exists(model.model):
        model = replace(model, model=os.path.abspath(model.model))
    if model.adapter is not None and os.path.exists(model.adapter):
        model = replace(model, adapter=os.path.abspath(model.adapter))
    return config, model


def _build_server(config: ServeConfig, model: ModelConfig, settings: Settings, *, url: str) -> "Server":
    from llm_app.engine.catalog import check_model, find_adapter

    check_model(model.model, settings)
    if model.adapter is not None:
        find_adapter(model.adapter, settings)
    # All that knows transformers is imported before the load begins: it does not take two threads that import it.
    from llm_app.api import build_api
    from llm_app.engine.host import Host
    from llm_app.http_server import Server
    from llm_app.services import Services

    services = Services(settings=settings, serve=config, host=Host(settings, config))
    is_announced = threading.Event()
    threading.Thread(target=_load, args=(services, model, is_announced), name="load", daemon=True).start()
    from llm_app.web import mount_page

    app = build_api(services)
    mount_page(app, services)
    return Server(app, on_start=_announce(url, is_announced), drain=services.shutdown)


def settle_heap() -> None:
    """Take what is there now, half a million objects of libraries, out of garbage collection for good.

    A full collection looks at all of it and stops every thread meanwhile: a third of a second for each waiting client.
    """
    gc.freeze()
    gc.enable()


def _announce(url: str, is_announced: threading.Event) -> Callable[[], None]:
    """What happens once requests are answered: the address is printed."""
    def on_start() -> None:
        settle_heap()
        print(f"Proofbench is at {url} (Ctrl+C stops it)", flush=True)
        is_announced.set()

    return on_start


def _load(services: "Services", model: ModelConfig, is_announced: threading.Event) -> None:
    """Load the first model while the page is put together; what came of it is told once there is an address.

    What goes wrong is shown on the page and by /health/ready; the server stays up. The page comes first: who opens it
    while the model loads waits for nothing else.
    """
    started = time.monotonic()
    if sys.platform == "linux":  # elsewhere a priority is the whole program's
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), LOAD_NICENESS)
    try:
        for _ in services.host.load(model):
            pass
    except UserError as error:
        outcome = partial(log.error, "%s was not loaded: %s", model.model, error.message)
    except Exception as error:
        outcome = partial(log.error, "%s was not loaded", model.model, exc_info=error)
    else:
        seconds = time.monotonic() - started
        outcome = partial(print, f"{model.model} is ready after {seconds:.1f} s", flush=True)
    is_announced.wait()
    outcome()
