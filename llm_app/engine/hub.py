"""Models of the Hugging Face hub: those in its cache on this machine, and fetching one when a person asks."""

import shutil
import threading
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

from llm_app.engine import weights
from llm_app.errors import ModelNotFound, ModelRejected, UserError

# No code, no pickles, and only files in the root: sub-folders hold the same weights for other programs.
_WANTED = (".safetensors", ".json", ".txt", ".model", ".jinja")
SPARE_BYTES = 512 * 2**20
WATCH_SECONDS = 1.0  # between two looks at how much of a file is here
_KEPT = "what is fetched already is kept"


class NoNetwork(UserError):
    """The hub cannot be reached, or must not be."""

    status, code = 503, "no_network"


class NoSpace(UserError):
    """The disk is too full for the download."""

    code = "no_space"


class NoAccess(UserError):
    """The owner of the model wants to be asked first."""

    status, code = 403, "needs_access"


class NotFetched(ModelNotFound):
    """A name as the hub has them, of a model that is not on this machine."""


@dataclass(frozen=True)
class Offer:
    """What fetching a model would bring here: bytes by name of file. `free_bytes`: room on the disk."""

    name: str
    revision: str
    files: Mapping[str, int]
    free_bytes: int

    @property
    def n_bytes(self) -> int:
        """Size of all files."""
        return sum(self.files.values())


def cached_models() -> list[tuple[str, Path]]:
    """Names and folders of the language models that the cache holds whole."""
    from huggingface_hub.constants import HF_HUB_CACHE

    found = []
    for repo in sorted(Path(HF_HUB_CACHE).glob("models--*--*")):
        name = repo.name.removeprefix("models--").replace("--", "/", 1)
        try:
            folder = cached_folder(name)
            config = weights.check_folder(folder).config
        except UserError:
            continue
        if any(str(kind).endswith(("ForCausalLM", "LMHeadModel")) for kind in config.get("architectures") or ()):
            found.append((name, folder))
    return found


def cached_folder(name: str, revision: str | None = None) -> Path:
    """The snapshot of a hub model on this machine, of its main branch unless a commit is named.

    Raises: NotFetched telling how to fetch it.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    fetch = f"python -m llm_app models --fetch {name}"
    missing = NotFetched(f"{name} is not on this machine. Fetch it first: {fetch}", param="model")
    try:
        folder = Path(snapshot_download(name, revision=revision, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError, OSError, ValueError):
        raise missing from None
    if not (folder / "config.json").is_file():
        raise missing
    return folder


def offer(name: str) -> Offer:
    """What the hub has under this name; asks the hub, fetches nothing.

    Raises: NoNetwork, ModelNotFound, NoAccess, NoSpace, or ModelRejected if there are no safetensors.
    """
    from huggingface_hub import HfApi

    with _told(name):
        info = HfApi().model_info(name, files_metadata=True, timeout=20)
    files = {
        file.rfilename: file.size or 0
        for file in info.siblings or ()
        if file.rfilename.endswith(_WANTED) and "/" not in file.rfilename and "\\" not in file.rfilename
    }
    if not any(file.endswith(".safetensors") for file in files):
        raise ModelRejected(f"{name} has no safetensors weights; only safetensors/GGUF are accepted.")
    found = Offer(name, str(info.sha), files, _free_bytes())
    if found.n_bytes + SPARE_BYTES > found.free_bytes:
        needs, free = found.n_bytes / 1e9, found.free_bytes / 1e9
        raise NoSpace(f"{name} needs {needs:.1f} GB of disk; {free:.1f} GB are free. Make room first.")
    return found


def download(name: str) -> Generator[float]:
    """Fetch what is needed of one model; yields the fraction done. What is there is not fetched again.

    Closing it stops in the middle of a file; what is here stays, and the next time goes on from there.
    Raises: as `offer`.
    """
    from huggingface_hub import hf_hub_download

    offered = offer(name)
    total, n_done = offered.n_bytes, 0
    # Weights last: a folder without them is never taken for a model.
    for file in sorted(offered.files, key=lambda file: (file.endswith(".safetensors"), file)):
        for n_bytes in _Transfer(name, file, offered.revision).progress():
            yield min(n_done + n_bytes, total) / total if total else 0.0
        n_done += offered.files[file]
        yield n_done / total if total else 1.0
    # Only asking for the branch by name puts the snapshot under that name: half a model never has one.
    with _told(name):
        hf_hub_download(name, "config.json")
    weights.check_folder(cached_folder(name))


class _Transfer:
    """One file on its way, in a thread of its own: the hub library waits until a file is whole."""

    def __init__(self, name: str, file: str, revision: str) -> None:
        self._what = name, file, revision
        self._n_bytes = 0
        self._is_stopped = False
        self._error: Exception | None = None

    def progress(self) -> Iterator[int]:
        """Bytes that are here, now and then, until all are; closing it ends the transfer."""
        thread = threading.Thread(target=self._fetch, name="fetch", daemon=True)
        thread.start()
        try:
            while thread.is_alive():
                thread.join(WATCH_SECONDS)
                if thread.is_alive():
                    yield self._n_bytes
        finally:
            self._is_stopped = True
        if self._error is not None:
            raise self._error

    def came(self, n_bytes: int) -> None:
        """Note that so many more bytes are here; the library's own thread calls this.

        Raises: InterruptedError if nobody wants them any more.
        """
        if self._is_stopped:
            raise InterruptedError("The download was stopped.")
        self._n_bytes += n_bytes

    def _fetch(self) -> None:
        from huggingface_hub import hf_hub_download

        name, file, revision = self._what
        try:
            with _told(name):
                bar: Any = partial(_Bar, self)
                hf_hub_download(name, file, revision=revision, tqdm_class=bar)
        except Exception as error:
            self._error = error


class _Bar:
    """What the hub library takes for a progress bar."""

    def __init__(self, transfer: _Transfer, initial: float = 0, **_: object) -> None:
        self._transfer = transfer
        self.update(initial)

    def update(self, n: float | None = 1) -> None:
        self._transfer.came(int(n or 0))

    def close(self) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def _free_bytes() -> int:
    from huggingface_hub.constants import HF_HUB_CACHE

    folder = Path(HF_HUB_CACHE)
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


@contextmanager
def _told(name: str) -> Iterator[None]:
    """The hub library's many errors as one sentence each."""
    from huggingface_hub import errors
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]  # of the HTTP library it is built on

    try:
        yield
    except errors.OfflineModeIsEnabled:
        raise NoNetwork(f"No network: HF_HUB_OFFLINE is set, so {name} cannot be fetched.") from None
    except errors.GatedRepoError:
        raise NoAccess(f"{name} needs access: ask its owner on the hub, then log in: hf auth login") from None
    except (errors.RepositoryNotFoundError, errors.EntryNotFoundError, errors.HFValidationError) as error:
        if isinstance(error, errors.LocalEntryNotFoundError):
            raise _no_network(name) from None
        raise ModelNotFound(f"{name} was not found on the hub. Check the spelling.", param="model") from None
    except errors.HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else 0
        raise NoNetwork(f"The hub answered {status} for {name}. Try again later; {_KEPT}.") from None
    except (HTTPError, ConnectionError, TimeoutError):
        raise _no_network(name) from None
    except OSError as error:
        raise UserError(f"{name} could not be written: {error.strerror or error}.") from None


def _no_network(name: str) -> NoNetwork:
    return NoNetwork(f"No network: the hub cannot be reached, so {name} cannot be fetched; {_KEPT}.")
