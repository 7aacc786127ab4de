"""A tagger that is trained in a moment, on the shelf of a page."""

from pathlib import Path

from llm_app.classify.entities.decode import bio_labels
from llm_app.classify.entities.features import FeatureTagger
from llm_app.classify.entities.folder import TaggerFile, write_note
from llm_app.config import Settings
from llm_app.data.conll import read_conll
from llm_app.web.classify.entities_handlers import EXAMPLE


def put_tagger(settings: Settings, name: str = "mine") -> Path:
    """Logistic regression over the features of the example's words."""
    labels = bio_labels(["LOC", "ORG", "PER"])
    folder = settings.classifiers / name
    folder.mkdir(parents=True)
    FeatureTagger.fit(read_conll(EXAMPLE).sentences, labels).save(folder)
    write_note(folder, TaggerFile("features", labels, None))
    return folder
