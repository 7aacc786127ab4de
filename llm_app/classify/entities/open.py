"""Whatever a name stands for, made ready to find entities: a tagger trained here, or any trained token classifier."""

from pathlib import Path

import torch

from llm_app.classify.entities.encoder import EncoderTagger, open_network
from llm_app.classify.entities.features import FeatureTagger
from llm_app.classify.entities.folder import NOTE, is_tagger, read_note
from llm_app.classify.entities.types import Tagger
from llm_app.classify.learned import read_learned
from llm_app.config import ModelConfig, Settings
from llm_app.engine.catalog import find_model
from llm_app.engine.loading import choose_device
from llm_app.engine.plain_folder import PlainFolder
from llm_app.engine.turn import Turn
from llm_app.engine.weights import TAGS
from llm_app.errors import ModelRejected


def open_tagger(name: str, settings: Settings, turn: Turn) -> Tagger:
    """The tagger of that name: one on the shelf, a folder, or a hub name in the cache. Nothing is downloaded.

    It runs on the GPU if there is one.
    Raises: ModelNotFound, or ModelRejected in one sentence.
    """
    folder = settings.classifiers
    shelf = {path.name: path for path in folder.iterdir() if is_tagger(path)} if folder.is_dir() else {}
    path = shelf[name] if name in shelf else find_model(name, settings).path
    return open_folder(path, turn, choose_device(ModelConfig(name)), name=path.name)


def open_folder(path: Path, turn: Turn, device: torch.device, *, name: str) -> Tagger:
    """The tagger in a folder; `name`: what a person calls it. Raises: as open_tagger."""
    note = read_note(path) if is_tagger(path) else None
    if note is not None and note.method == "features":
        return FeatureTagger.load(path, note.labels, read_learned(path))
    folder = PlainFolder(path, TAGS)
    network = open_network(folder, note.max_length if note else None, device, name=name)
    if note is not None and note.labels != network.labels:
        raise ModelRejected(f"{NOTE} of {name} has other labels than its config.json.", param="model")
    return EncoderTagger(network, turn, follows_bio=note is not None, learned=read_learned(path))
