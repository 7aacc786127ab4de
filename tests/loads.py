"""A model loaded for a test, without the host around it."""

from llm_app.config import ModelConfig, Settings
from llm_app.engine.loading import LoadedModel, load


def load_model(config: ModelConfig, settings: Settings) -> LoadedModel:
    """The last thing that a load gives."""
    *_, loaded = load(config, settings)
    assert isinstance(loaded, LoadedModel)
    return loaded
