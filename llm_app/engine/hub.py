"""Models of the Hugging Face hub: those in its cache on this machine, and fetching one when a person asks."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from llm_app.engine import weights
from llm_app.errors import ModelNotFound, ModelRejected, UserError

# No code, no pickles, and only files in the root: sub-folders hold the same weights for other programs.
_WANTED = (".safetensors", ".json", ".txt", ".model", ".jinja")
SPARE_BYTES = 512 * 2**20
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

    Raises: ModelNotFound telling how to fetch it.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    fetch = f"python -m llm_app models --fetch {name}"
    missing = ModelNotFound(f"{name} is not on this machine. Fetch it first: {fetch}", param="model")
    try:
        folder = Path(snapshot_download(name, revision=revision, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError, OSError, ValueError):
        raise missing from None
    if not (folder / "config.json").is_file():
        raise missing
    return folder


def download(name: str) -> Iterator[float]:
    """Fetch what is needed of one model, file by file; yields the fraction done. What is there is not fetched again.

    Raises: NoNetwork, ModelNotFound, NoAccess, NoSpace, or ModelRejected if there are no safetensors.
    """
    from huggingface_hub import HfApi, hf_hub_download

    with _told(name):
        info = HfApi().model_info(name, files_metadata=True, timeout=20)
    files = {
        file.rfilename: file.size or 0
        for file in info.siblings or ()
        if file.rfilename.endswith(_WANTED) and "/" not in file.rfilename and "\\" not in file.rfilename
    }
    if not any(file.endswith(".safetensors") for file in files):
        raise ModelRejected(f"{name} has no safetensors weights; only safetensors/GGUF are accepted.")
    total = sum(files.values())
    _check_space(name, total)
    n_done = 0
    # Weights last: a folder without them is never taken for a model.
    for file in sorted(files, key=lambda file: (file.endswith(".safetensors"), file)):
        with _told(name):
            hf_hub_download(name, file, revision=info.sha)
        n_done += files[file]
        yield n_done / total if total else 1.0
    # Only asking for the branch by name puts the snapshot under that name: half a model never has one.
    with _told(name):
        hf_hub_download(name, "config.json")
    weights.check_folder(cached_folder(name))


def _check_space(name: str, n_bytes: int) -> None:
    from huggingface_hub.constants import HF_HUB_CACHE

    folder = Path(HF_HUB_CACHE)
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if n_bytes + SPARE_BYTES > free:
        raise NoSpace(f"{name} needs {n_bytes / 1e9:.1f} GB of disk; {free / 1e9:.1f} GB are free. Make room first.")


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
