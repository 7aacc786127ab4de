"""What a name stands for as a classifier: a trained one, a model with a trained head, or a chat model that is asked."""

from collections.abc import Sequence
from pathlib import Path

import torch

from llm_app.classify.config import ZeroShotConfig
from llm_app.classify.encoder import NO_HEAD, open_encoder
from llm_app.classify.folder import VOCABULARY, WEIGHTS, ClassifierFile, is_classifier, read_note
from llm_app.classify.labels import check_labels
from llm_app.classify.lora_head import open_lora
from llm_app.classify.lstm import open_lstm
from llm_app.classify.majority import Majority
from llm_app.classify.network import Network, NetworkClassifier
from llm_app.classify.prompt import Example
from llm_app.classify.tfidf import open_tfidf
from llm_app.classify.types import Classifier
from llm_app.classify.zero_shot import ZeroShot
from llm_app.config import ModelConfig, Settings
from llm_app.engine.catalog import find_model
from llm_app.engine.host import Host
from llm_app.engine.identity import digest_files
from llm_app.engine.loading import choose_device
from llm_app.engine.plain_folder import PlainFolder
from llm_app.engine.weights import CLASSIFIES, read_json
from llm_app.errors import ModelRejected, UserError


def open_classifier(
    name: str,
    host: Host,
    settings: Settings,
    *,
    labels: Sequence[str] = (),
    zero_shot: ZeroShotConfig | None = None,
    examples: Sequence[Example] = (),
    is_strict: bool = False,
) -> Classifier:
    """The classifier of that name: one on the shelf, a folder, a hub name in the cache; else a chat model and `labels`.

    A chat model must be the one that the host has loaded, or becomes it if there is none. `is_strict`: too long a text
    is refused, not cut.
    Raises: ModelNotFound, ModelRejected, or UserError if name, labels and model do not go together.
    """
    folder = trained_folder(name, settings)
    if folder is not None:
        classifier = _open_trained(folder, name, host, settings, is_strict=is_strict)
        if labels and set(check_labels(labels, classifier.kind)) != set(classifier.labels):
            known = ", ".join(classifier.labels[:20])
            raise UserError(f"{name} was trained for other labels than these; its own are: {known}.", param="labels")
        return classifier
    if not labels:
        raise ModelRejected(NO_HEAD.format(name=name), param="model")
    _bring(name, host, settings)
    return ZeroShot(host, labels, zero_shot or ZeroShotConfig(), examples, is_strict=is_strict)


def trained_folder(name: str, settings: Settings) -> Path | None:
    """Where the trained classifier of that name lies, or the model with a trained head; None for any other model.

    Raises: ModelNotFound; in public mode for all that is not listed.
    """
    shelf = {path.name: path for path in settings.classifiers.iterdir()} if settings.classifiers.is_dir() else {}
    path = shelf.get(name)
    if path is None and not settings.is_public:
        path = _folder(name)
    if path is not None and is_classifier(path):
        return path
    found = find_model(name, settings).path
    return found if found.is_dir() and _has_head(found) else None


def _folder(name: str) -> Path | None:
    """The folder at a path that a person gave, which may be no path at all."""
    try:
        path = Path(name).expanduser().absolute()
        return path if name and path.is_dir() else None
    except (OSError, ValueError, RuntimeError):
        return None


def _has_head(folder: Path) -> bool:
    """Whether the configuration says that the model was saved with a head for whole texts."""
    kinds = read_json(folder / "config.json").get("architectures")
    return isinstance(kinds, list) and any(str(kind).endswith("ForSequenceClassification") for kind in kinds)


def _open_trained(folder: Path, name: str, host: Host, settings: Settings, *, is_strict: bool) -> Classifier:
    file = read_note(folder) if is_classifier(folder) else None
    if file is not None and file.method == "lora":
        return open_lora(folder, file, host, is_strict=is_strict)
    if file is not None and file.method == "tfidf":
        return open_tfidf(folder, file)
    if file is not None and file.method == "majority":
        return Majority(file)
    device = choose_device(ModelConfig(name))
    network, file, weights = _network(folder, file, name, device)
    identity = {"weights": digest_files(weights, settings)}
    return NetworkClassifier(network, file, identity, host.turn, is_strict=is_strict)


def _network(
    folder: Path, file: ClassifierFile | None, name: str, device: torch.device
) -> tuple[Network, ClassifierFile, list[Path]]:
    """The network, what it predicts, and the files that decide it."""
    if file is not None and file.method == "lstm":
        return open_lstm(folder, file, device), file, [folder / WEIGHTS, folder / VOCABULARY]
    source = PlainFolder(folder, CLASSIFIES)
    network, described = open_encoder(source, file, device, name=name)
    rest = [folder / "config.json", *sorted(folder.glob("tokenizer*")), *sorted(folder.glob("vocab*"))]
    return network, described, [*source.files, *rest]


def _bring(name: str, host: Host, settings: Settings) -> None:
    """Have the chat model of that name loaded. Raises: UserError if another one is; as `Host.load`."""
    entry = find_model(name, settings)
    if host.status().state == "empty":
        for _ in host.load(ModelConfig(name)):
            pass
    loaded = host.loaded.entry
    if entry.path.resolve() != loaded.path.resolve():
        raise UserError(f"{name[:200]} is not loaded; {loaded.id} is. Load it first.", param="model")
