"""What training learns, kept in the run's folder: checkpoints on the way, and in the end the weights of the best step.

Whatever is trained, its trainer is saved, restored and written here in the same way.
"""

import contextlib
import errno
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from llm_app.errors import NotEnoughMemory, UserError
from llm_app.jobs.folder import NoSpace, RunFolder, told
from llm_app.jobs.train import CHECKPOINTS
from llm_app.jobs.train_log import Begun, Told, read_log
from llm_app.training.checkpoint import Damaged, NoValidCheckpoint, at_step, newest_valid, save
from llm_app.training.events import Note, Saved, Step
from llm_app.training.state import TrainerState
from llm_app.training.trainer import TrainingDiverged


class Resumable(Protocol):
    """A trainer, as far as it is saved."""

    @property
    def step(self) -> int:
        """Steps done."""
        ...

    @property
    def n_steps(self) -> int:
        """Steps of the whole run."""
        ...

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to do."""
        ...

    @property
    def best_step(self) -> int | None:
        """After which step the validation came out best; None before the first validation."""
        ...

    @property
    def validates_every(self) -> int:
        """Steps between two validations."""
        ...

    @property
    def n_validation(self) -> int:
        """How much there is to validate on."""
        ...

    def run(self) -> Iterator[Any]:
        """Train, from where it is."""
        ...

    def state(self) -> TrainerState:
        """All that decides what comes next."""
        ...

    def restore(self, state: TrainerState) -> None:
        """Go on from there."""
        ...


class Saving:
    """A trainer, and the folder that it is saved to and restored from.

    `write` puts what the trainer holds, of that step, into the run's folder; Written is the last that it tells. `steps`
    and `validations`: events by step.
    """

    def __init__(
        self, folder: RunFolder, trainer: Resumable, write: Callable[["Saving", int, bool], Iterator[Told]], *,
        save_every: int | None = None, keep: int = 2,
    ) -> None:
        self._folder, self._trainer, self._write = folder, trainer, write
        self._every, self._keep = save_every or trainer.validates_every, keep
        self._checkpoints = folder.path / CHECKPOINTS
        self._saved: int | None = None  # step of the last checkpoint
        self.steps: dict[int, Step] = {}
        self.validations: dict[int, Any] = {}
        self.is_whole = False  # whether the training came to its end, which going back to its best step does not show

    def restored(self) -> Iterator[Told]:
        """Bring the trainer to where the newest valid checkpoint left it.

        Raises: NoValidCheckpoint if there are some, all damaged.
        """
        found, problems = newest_valid(self._checkpoints)
        before = read_log(self._folder)
        if found is None:
            if before.steps:
                text = "No checkpoint had been written yet: training starts from the beginning."
                yield Note(0, "resumed", text, "此前还没有检查点：训练从头开始。")
            return
        self._trainer.restore(found.load())
        self._saved = found.step
        self.steps = {step.step: step for step in before.steps if step.step <= found.step}
        validations: list[Any] = [*before.validations, *before.points]
        self.validations = {each.step: each for each in validations if each.step <= found.step}
        text, text_zh = f"Training goes on after step {found.step}.", f"训练从第 {found.step} 步之后继续。"
        if problems:
            text, text_zh = " ".join([*problems, text]), f"已跳过 {len(problems)} 个损坏的检查点。{text_zh}"
        yield Note(found.step, "resumed", text, text_zh)

    def run(self) -> Iterator[Any]:
        """What is left of training, with a checkpoint wherever one is due and at the end."""
        trainer = self._trainer
        try:
            for event in trainer.run():
                yield event
                if isinstance(event, Step):
                    self.steps[event.step] = event
                elif not isinstance(event, Note):
                    self.validations[event.step] = event
                if self._is_due(event):
                    yield self._save()
        except (TrainingDiverged, NotEnoughMemory) as error:
            written = list(self._last_good())
            if not written:
                raise
            yield from written
            kept = f"What was learned up to step {trainer.step}, the last checkpoint, is kept."
            raise UserError(f"{error.message} {kept}", param=error.param) from error
        if trainer.step > 0 and self._saved != trainer.step:
            yield self._save()
        self.is_whole = trainer.is_over

    def written(self) -> Iterator[Told]:
        """Write what was learned: of the step that validated best, or of the last one."""
        trainer = self._trainer
        if trainer.step == 0:
            return
        step, best = trainer.step, trainer.best_step
        if best == 0:
            text = (
                "Training did not beat the start on the rows held back: the result is of the last step. More epochs,"
                " more rows or another learning rate are needed."
            )
            text_zh = "在留出的数据上，训练没有超过起点：结果取自最后一步。需要更多轮数、更多数据或换一个学习率。"
            yield Note(step, "no_gain", text, text_zh)
        elif best is not None and best != step:
            try:
                trainer.restore(at_step(self._checkpoints, best).load())
                step = best
            except Damaged as error:
                text_zh = f"第 {best} 步的检查点已损坏：结果取自最后一步。"
                yield Note(step, "best_lost", f"{error.message} The result is of the last step.", text_zh)
        yield from self._write(self, step, step == best)

    def _is_due(self, event: Any) -> bool:
        """Whether a checkpoint belongs after this event; where a validation follows a step, after that."""
        trainer, every = self._trainer, self._every
        if isinstance(event, Step):
            validates = event.step % trainer.validates_every == 0 or event.step == trainer.n_steps
            return event.step % every == 0 and not (validates and trainer.n_validation)
        is_new = not isinstance(event, Note) and event.step > 0
        return is_new and (event.step % every == 0 or trainer.best_step == event.step)

    def _save(self) -> Saved:
        """Raises: NoSpace saying how much is needed, UserError if it cannot be written."""
        trainer = self._trainer
        best = trainer.best_step or None  # before the first step there is nothing to keep
        state = trainer.state()
        try:
            save(self._checkpoints, state, step=trainer.step, best_step=best, keep=self._keep)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise told(error, self._checkpoints) from error
            size = sum(tensor.nbytes for tensor in state.tensors.values()) / 1e6
            stays = "None was written before." if self._saved is None else f"The one of step {self._saved} stays."
            raise NoSpace(
                f"No space left on the disk for a checkpoint of {size:,.0f} MB. {stays} Free some and resume the run."
            ) from error
        self._saved = trainer.step
        return Saved(trainer.step, is_best=best == trainer.step)

    def _last_good(self) -> Iterator[Told]:
        """After a failure, write what the last checkpoint holds; nothing without one."""
        with contextlib.suppress(NoValidCheckpoint):
            found, _ = newest_valid(self._checkpoints)
            if found is not None:
                self._trainer.restore(found.load())
                yield from self._write(self, found.step, found.step == found.best_step)


def check_same(folder: RunFolder, begun: Begun) -> None:
    """Raises: UserError saying what is not as it was when the run began."""
    before = read_log(folder).begun
    if before is None:
        return
    names = {"model": "model", "device": "device", "dtype": "number format", "split": "examples", "n_steps": "steps"}
    found = [told for name, told in names.items() if getattr(before, name) != getattr(begun, name)]
    if found:
        raise UserError(
            f"Run {folder.id} cannot go on: it differs in: {', '.join(found)}. Start a new run.", param="run"
        )
