"""All runs of this machine, or of one visitor: a folder of run folders. What is shown of a run is read from it.

There is no index: names sort by age, so a page opens only its own runs, and of a log only the end is read.
"""

import contextlib
import hashlib
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from llm_app.config import Settings
from llm_app.errors import UserError
from llm_app.jobs import lock
from llm_app.jobs.folder import EVENTS, ID, End, RunFolder, RunIsRunning, RunNotFound, Spec, told
from llm_app.jobs.quota import Quota
from llm_app.jobs.sweeping import VISITOR_SECONDS, remove_folder, sweep

# queued: known to the queue of this process only. damaged: its spec.json is missing or unreadable.
Status = Literal["running", "queued", "damaged"] | End
TRASH = ".deleted-"  # a folder of this name holds a run whose deletion did not end
VISITORS_BYTES = 2_000 << 20  # of all visitors of a public demo together; the oldest runs go first
NOTE = "note.txt"
MAX_NOTE = 200
DAMAGED = "Its files are missing or damaged; `python -m llm_app doctor` says which."


@dataclass(frozen=True)
class Run:
    """A line of the list: what it is, how far it is, what it came to."""

    id: str
    status: Status
    kind: str = ""
    model: str = ""
    adapter: str | None = None
    precision: str = ""
    tasks: tuple[str, ...] = ()
    created: str = ""  # ISO, UTC
    n_done: int = 0
    n_total: int | None = None
    scores: Mapping[str, tuple[str, float]] = field(default_factory=dict)  # task or group -> (metric, value)
    reason: str | None = None  # why it ended, in a sentence
    note: str = ""
    position: int | None = None  # runs before it in the queue, where it waits there


class RunStore:
    """Runs, newest first. A store holds one owner's; the runs of others cannot even be named.

    `is_waiting`: whether a run stands in a queue, of which its folder says nothing.
    """

    def __init__(
        self, root: Path, *, owner: str | None = None, quota: Quota | None = None,
        is_waiting: Callable[[str], bool] = lambda _: False,
    ) -> None:
        self.root, self.owner, self._quota, self._is_waiting = root, owner, quota, is_waiting

    @classmethod
    def of(
        cls, settings: Settings, visitor: str | None = None, is_waiting: Callable[[str], bool] = lambda _: False
    ) -> "RunStore":
        """The store of this machine; on a public demo, the visitor's own. Any string will do for a visitor."""
        if visitor is None or not settings.is_public:
            return cls(settings.home / "runs")
        owner = hashlib.sha256(visitor.encode("utf-8", errors="surrogatepass")).hexdigest()[:32]
        return cls(settings.home / "visitors" / owner, owner=owner, quota=Quota(), is_waiting=is_waiting)

    @classmethod
    def every(cls, settings: Settings) -> list["RunStore"]:
        """That of this machine and those of all visitors."""
        visitors = settings.home / "visitors"
        folders = sorted(visitors.iterdir()) if visitors.is_dir() else []
        return [cls.of(settings), *(cls(folder, owner=folder.name) for folder in folders if folder.is_dir())]

    def create(self, spec: Spec) -> RunFolder:
        """A new run.

        Raises: QuotaReached if the owner has too many or too large ones, UserError if it cannot be written.
        """
        if self._quota is None:
            return RunFolder.create(self.root, spec)
        sweep(self.root.parent, VISITOR_SECONDS, VISITORS_BYTES, self._sweep)
        with self._alone():
            self._quota.check(self.ids(), self.n_bytes())
            return RunFolder.create(self.root, {"owner": self.owner, **spec})

    def open(self, run_id: str) -> RunFolder:
        """Raises: RunNotFound."""
        return RunFolder.open(self.root, run_id)

    def ids(self, offset: int = 0, n: int | None = None) -> list[str]:
        """Names of `n` runs (default: all), newest first, after the `offset` newest."""
        try:
            names = [name for name in os.listdir(self.root) if ID.fullmatch(name)]
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(names, reverse=True)[offset : None if n is None else offset + n]

    def page(self, offset: int = 0, n: int = 20) -> list[Run]:
        """`n` runs, newest first, after the `offset` newest."""
        runs = [describe(RunFolder(self.root / run_id)) for run_id in self.ids(offset, n)]
        return [run for run in runs if run.status != "damaged" or (self.root / run.id).is_dir()]  # else just deleted

    def read(self, run_id: str) -> Run:
        """One run.

        Raises: RunNotFound.
        """
        if not ID.fullmatch(run_id) or not (self.root / run_id).is_dir():
            raise RunNotFound(f"There is no run {run_id!r} here.", param="run")
        return describe(RunFolder(self.root / run_id))

    def delete(self, run_id: str) -> None:
        """Remove a run for good. Who is reading a file of it reads on to its end.

        Raises: RunNotFound, RunIsRunning.
        """
        folder = RunFolder(self.root / self.read(run_id).id)
        try:
            file = os.open(folder.path / EVENTS, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise told(error, folder.path) from error
        try:
            if not lock.take(file):
                raise RunIsRunning(f"Run {run_id} is under way. Stop it first, then delete it.", param="run")
            # First out of the list, whole: a kill in the middle leaves no half of a run under its name.
            trash = self.root / f"{TRASH}{run_id}-{secrets.token_hex(4)}"
            os.rename(folder.path, trash)
            shutil.rmtree(trash)
        except OSError as error:
            raise told(error, folder.path) from error
        finally:
            os.close(file)

    def note(self, run_id: str, text: str) -> None:
        """Write a remark of up to 200 characters beside a run; an empty one takes it away."""
        folder = self.open(run_id)
        line = " ".join(text.split())
        if len(line) > MAX_NOTE:
            raise UserError(f"A note has at most {MAX_NOTE} characters, not {len(line)}.", param="note")
        folder.write(NOTE, line)

    def n_bytes(self) -> int:
        """Size of all files of all runs."""
        total = 0
        for folder, _, names in os.walk(self.root):
            for name in names:
                with contextlib.suppress(OSError):
                    total += os.lstat(os.path.join(folder, name)).st_size
        return total

    def _sweep(self, folder: Path) -> None:
        """Remove what somebody left among their runs: a run like any other, but none that waits or is under way."""
        if not ID.fullmatch(folder.name):
            remove_folder(folder)
        elif not self._is_waiting(folder.name):
            with contextlib.suppress(UserError):
                RunStore(folder.parent).delete(folder.name)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """No other run is made in this store meanwhile: two at once would both find the last place free."""
        file = None
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            file = os.open(self.root, os.O_RDONLY)
            if not lock.take(file):
                raise RunIsRunning("Another run of yours is being made. Try again in a moment.")
            yield
        except OSError as error:
            raise told(error, self.root) from error
        finally:
            if file is not None:
                os.close(file)


def describe(folder: RunFolder) -> Run:
    """What the list shows of a run."""
    try:
        spec = folder.spec()
    except UserError:
        return Run(folder.id, "damaged", reason=DAMAGED)
    is_locked = folder.is_locked()  # before the log is read: a run that ends in between counts as running
    last, n_done, n_total = None, 0, None
    for event in folder.tail():
        last = last or event
        if isinstance(event.get("done"), int):
            n_done, n_total = event["done"], event.get("total")
            break
    ended = last if last is not None and last.get("type") == "end" and not is_locked else {}
    model, tasks = _mapping(spec.get("model")), _mapping(spec.get("tasks"))
    counts = [_mapping(task).get("n_samples") for task in tasks.values()]
    return Run(
        folder.id,
        "running" if is_locked else ended.get("status", "interrupted"),
        str(spec.get("kind", "")),
        str(model.get("name", "")),
        model.get("adapter_name"),
        str(model.get("precision", "")),
        tuple(spec.get("asked") or tasks),
        str(spec.get("created", "")),
        n_done,
        sum(count for count in counts if isinstance(count, int)) if tasks else n_total,
        {name: (metric, value) for name, (metric, value) in _mapping(ended.get("scores")).items()},
        ended.get("reason"),
        _note(folder.path / NOTE),
    )


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _note(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")[:MAX_NOTE]
    except OSError:
        return ""
