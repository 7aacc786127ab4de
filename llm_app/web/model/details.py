"""What the strip's fold tells of the loaded model: its chat template, a prompt as it gets it, adapters that fit it."""

from pathlib import Path

from llm_app import chat
from llm_app.config import ModelConfig
from llm_app.engine import catalog
from llm_app.engine.catalog import AdapterEntry
from llm_app.engine.host import Host
from llm_app.engine.loading import LoadedModel
from llm_app.errors import ModelIsRemote, ModelLoading, ShuttingDown, UserError
from llm_app.messages import Message
from llm_app.web.model import views
from llm_app.web.model.views import AdapterLine, Verdict
from llm_app.web.text import both
from llm_app.web.views import notice

MAX_ADAPTERS = 50  # checked and shown; who has more types the name
# In English on either page: it is not the page that speaks, and a model is told apart by its signs.
SAMPLE = (
    Message("system", "You answer briefly."), Message("user", "What is 2 + 2?"), Message("assistant", "4"),
    Message("user", "And doubled?"),
)  # fmt: skip


def loaded_or_none(host: Host) -> LoadedModel | None:
    """The model on this machine that answers now, if one does."""
    try:
        return host.loaded
    except (ModelLoading, ModelIsRemote, ShuttingDown):
        return None


def is_loaded(config: ModelConfig, host: Host) -> bool:
    """Whether loading this would change nothing."""
    loaded = loaded_or_none(host)
    return (
        loaded is not None
        and loaded.entry.name == config.model
        and config.precision in (loaded.precision, loaded.config.precision)
        and (config.device, config.context_length) == (loaded.config.device, loaded.config.context_length)
    )


def server_line(config: ModelConfig, host: Host) -> str:
    """What loading a model of another server means, unless it answers already; nobody asks the server yet.

    Raises: UserError for an address that is none.
    """
    catalog.check_model(config.model, host.settings)
    return "" if config.model == host.status().model else notice(both("remote_needs"))


def sample_prompt(loaded: LoadedModel) -> str:
    """A short conversation as this model gets it. A template that takes no system message is given none.

    Raises: UserError if the template takes neither.
    """
    try:
        prompt = chat.render(loaded, SAMPLE)
    except UserError:
        prompt = chat.render(loaded, SAMPLE[1:])
    specials = [token.content for token in loaded.tokenizer.added_tokens_decoder.values() if token.special]
    return views.prompt_card(prompt.text, len(prompt.token_ids), specials)


class AdapterShelf:
    """Adapters of this machine, each read once for each base that it could belong to."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._known: dict[tuple[Path, int, str], AdapterLine] = {}

    def lines(self) -> list[AdapterLine]:
        """All of them, with whether they fit the loaded model."""
        loaded = loaded_or_none(self._host)
        entries = catalog.list_adapters(self._host.settings)[:MAX_ADAPTERS]
        lines = [self._line(entry, loaded) for entry in entries]
        names = {line.name for line in lines}
        # Those that came by a path stand nowhere else.
        others = [name for name in loaded.adapters.offered if name not in names] if loaded is not None else []
        return [*lines, *(AdapterLine(name, "", self._at_hand(name)) for name in others)]

    def _at_hand(self, name: str) -> Verdict:
        return "answers" if name == self._host.adapter else "ready"

    def _line(self, entry: AdapterEntry, loaded: LoadedModel | None) -> AdapterLine:
        # Folders before the name are nobody's business.
        base = Path(entry.base).name if Path(entry.base).is_absolute() else entry.base
        if loaded is None:
            return AdapterLine(entry.name, base, "unknown")
        if entry.name in loaded.adapters.offered:
            return AdapterLine(entry.name, base, self._at_hand(entry.name))
        key = entry.path, entry.path.stat().st_mtime_ns, loaded.identity.weights
        if key not in self._known:
            self._known[key] = _checked(entry, base, loaded)
        return self._known[key]


def _checked(entry: AdapterEntry, base: str, loaded: LoadedModel) -> AdapterLine:
    try:
        notes = loaded.adapters.check(entry.path)
    except UserError as error:
        # The table says already which adapter and which model this is about.
        return AdapterLine(entry.name, base, "misfit", error.message.rpartition("): ")[2])
    return AdapterLine(entry.name, base, "perhaps" if notes else "fits", " ".join(notes))
