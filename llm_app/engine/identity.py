"""Which model answered: digests of everything that decides its answers."""

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import astuple, dataclass, replace
from pathlib import Path

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from llm_app.config import Settings

# What says where a model lies and who wrote its files, not how it computes.
_NO_PART = ("_name_or_path", "name_or_path", "transformers_version", "architectures", "gguf_file")


@dataclass(frozen=True)
class Identity:
    """SHA-256 of the parts, in hex; `adapter` and `template` are empty where there is none."""

    weights: str
    adapter: str
    quantization: str
    tokenizer: str
    template: str
    config: str = ""

    def digest(self) -> str:
        """One SHA-256 over all parts."""
        return hashlib.sha256("\n".join(astuple(self)).encode()).hexdigest()

    def with_adapter(self, adapter: str) -> "Identity":
        """The same base with an adapter of that digest."""
        return replace(self, adapter=adapter)


def digest_text(text: str) -> str:
    """SHA-256 of a text in UTF-8."""
    return hashlib.sha256(text.encode("utf-8", errors="surrogatepass")).hexdigest()


def digest_files(paths: Iterable[Path], settings: Settings) -> str:
    """SHA-256 over the files' own digests, in the order of their names; independent of where they lie."""
    lines = [f"{path.name} {digest_file(path, settings)}" for path in sorted(paths, key=lambda path: path.name)]
    return digest_text("\n".join(lines))


def digest_file(path: Path, settings: Settings) -> str:
    """SHA-256 of a file's bytes, remembered under settings.home/cache while its size and time stay the same."""
    status = path.stat()
    key = digest_text(f"{path.resolve()} {status.st_size} {status.st_mtime_ns}")
    note = settings.home / "cache" / "digests" / f"{key}.txt"
    try:
        known = note.read_text(encoding="ascii").strip()
        if len(known) == 64:
            return known
    except (OSError, UnicodeDecodeError):
        pass
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    try:
        note.parent.mkdir(parents=True, exist_ok=True)
        partial = note.with_suffix(f".{os.getpid()}")
        partial.write_text(digest, encoding="ascii")
        partial.replace(note)
    except OSError:
        pass  # a read-only home costs time, not correctness
    return digest


def digest_tokenizer(tokenizer: PreTrainedTokenizerBase) -> str:
    """SHA-256 of what turns text into ids: the whole fast tokenizer, or the vocabulary of a slow one."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        return digest_text(backend.to_str())
    return digest_text(json.dumps(sorted(tokenizer.get_vocab().items()), ensure_ascii=False))


def digest_config(model: PreTrainedModel) -> str:
    """SHA-256 of the configuration in effect and of the tokens that end a reply."""
    config = {name: value for name, value in model.config.to_dict().items() if name not in _NO_PART}
    ends = model.generation_config.eos_token_id if model.generation_config else None
    return digest_text(json.dumps([config, ends], sort_keys=True, default=str))
