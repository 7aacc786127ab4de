"""How a run ended, written by whoever ran it as the last event of its folder."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from llm_app.errors import Cancelled, ShuttingDown, UserError
from llm_app.jobs.folder import EVENTS, End, NoSpace, RunFolder


class Paused(UserError):
    """The run is not done for a reason that passes, and can be resumed."""


class AskAgain(Paused):
    """Some samples have no answer for a passing reason."""

    status, code = 503, "ask_again"


class Counted(Protocol):
    """A run that knows how far it is."""

    folder: RunFolder

    @property
    def n_done(self) -> int:
        """Samples done."""
        ...

    @property
    def n_total(self) -> int:
        """Samples in all."""
        ...

    def scores(self) -> Mapping[str, Any]:
        """What it came to, once all is done."""
        ...


@contextlib.contextmanager
def recorded_end(run: Counted) -> Iterator[None]:
    """Does the work in its block; however that ends, the folder says so. Closed by its reader means cancelled.

    A killed process writes nothing: a run without an end, that nobody holds, is interrupted.
    """
    try:
        yield
        run.folder.end("done", done=run.n_done, total=run.n_total, scores=run.scores())
    except (GeneratorExit, KeyboardInterrupt, Cancelled):
        if run.n_done == run.n_total:  # the reader has all it asked for
            _end(run, "done", scores=run.scores())
        else:
            _end(run, "cancelled")
        raise
    except ShuttingDown as error:
        _end(run, "interrupted", reason=error.message)
        raise
    except NoSpace as error:
        message = f"{error.message} It needs about {_size(_missing_bytes(run))}."
        _end(run, "paused", reason=message)
        raise NoSpace(message) from error
    except Paused as error:
        _end(run, "paused", reason=error.message, scores=run.scores())
        raise
    except UserError as error:
        _end(run, "failed", reason=error.message)
        raise
    except Exception as error:
        # Its text may hold a path or what a model said; whoever runs it writes those to the log.
        _end(run, "failed", reason=f"Something failed in this program ({type(error).__name__}); its log says more.")
        raise


def _end(run: Counted, status: End, **fields: Any) -> None:
    """The way it ended is told by an error already; a disk that does not even take this line changes nothing in it."""
    with contextlib.suppress(UserError):
        run.folder.end(status, done=run.n_done, total=run.n_total, **fields)


def _missing_bytes(run: Counted) -> int:
    """What the samples still to come will take, going by those that are there."""
    n_bytes = (run.folder.path / EVENTS).stat().st_size
    return n_bytes * (run.n_total - run.n_done) // max(1, run.n_done)


def _size(n_bytes: int) -> str:
    return f"{max(1, n_bytes >> 10):,} KB" if n_bytes < 10 << 20 else f"{n_bytes >> 20:,} MB"
