"""The work of a training process, whatever is trained, and how it ended: the boundary where no error goes up."""

import logging
from collections.abc import Callable, Generator, Iterator
from typing import Protocol

from llm_app.config import Settings
from llm_app.engine.failures import is_out_of_memory
from llm_app.errors import UserError
from llm_app.jobs.folder import RunFolder
from llm_app.jobs.train_child import Outcome
from llm_app.jobs.train_log import Told

log = logging.getLogger(__name__)
# Kinds of runs; all others tune language models. A tagger classifies words.
CLASSIFIER_KIND, TAGGER_KIND = "classifier", "tagger"


class Stoppable(Protocol):
    """A trainer, as far as it is stopped."""

    def stop(self) -> None:
        """End between two steps."""
        ...


OnReady = Callable[[Stoppable], object]
# Gives whether it came to its end.
Work = Callable[[RunFolder, Settings, OnReady], Generator[Told, None, bool]]


def outcome_last(folder: RunFolder, settings: Settings, on_ready: OnReady) -> Iterator[Told | Outcome]:
    """What the run's training tells, and last of all how it ended. `on_ready` gets the trainer, to stop it by."""
    try:
        is_whole = yield from _work_of(folder)(folder, settings, on_ready)
        yield Outcome("done" if is_whole else "stopped")
    except UserError as error:
        yield Outcome("failed", error.message, error.code)
    except Exception as error:
        if isinstance(error, MemoryError | RuntimeError) and is_out_of_memory(error):
            reason = "Memory ran out. Close other programs, or choose a smaller batch, a shorter cut-off or qlora."
        else:
            log.exception("run %s failed", folder.id)
            reason = f"Something failed in this program ({type(error).__name__}); its log says more."
        yield Outcome("failed", reason, "internal_error")


def _work_of(folder: RunFolder) -> Work:
    """Each imports much that the others do not need."""
    kind = folder.spec().get("kind")
    if kind == CLASSIFIER_KIND:
        from llm_app.jobs import classifier_steps

        return classifier_steps.train
    if kind == TAGGER_KIND:
        from llm_app.jobs import tagger_steps

        return tagger_steps.train
    from llm_app.jobs import train_steps

    return train_steps.train
