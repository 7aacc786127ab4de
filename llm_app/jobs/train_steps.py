"""Training as the process does it that trains: data, model, steps, checkpoints, and what is left in the end."""

import contextlib
import errno
import logging
from collections.abc import Callable, Generator, Iterator
from dataclasses import asdict

from llm_app.config import Settings
from llm_app.engine.catalog import find_model
from llm_app.engine.failures import is_out_of_memory
from llm_app.errors import NotEnoughMemory, UserError
from llm_app.jobs.folder import NoSpace, RunFolder, told
from llm_app.jobs.train import CHECKPOINTS, config_of
from llm_app.jobs.train_child import Outcome
from llm_app.jobs.train_log import Begun, Phase, Told, Written, read_log
from llm_app.jobs.train_material import Material, Tokens, material_of
from llm_app.jobs.train_result import place_of, weights_digest
from llm_app.training.adapter_folder import Tuned, write
from llm_app.training.base import Base, load_base
from llm_app.training.checkpoint import Damaged, NoValidCheckpoint, at_step, newest_valid, save
from llm_app.training.config import TrainConfig
from llm_app.training.encode import Encoded, told_of_masked
from llm_app.training.events import Event, Note, Saved, Step, Validation
from llm_app.training.pairs import Pair
from llm_app.training.processes import Processes, launched_processes
from llm_app.training.reporting import ReportedRun, Reporter
from llm_app.training.trainer import Trainer, TrainingDiverged

log = logging.getLogger(__name__)
OnReady = Callable[[Trainer], object]


def outcome_last(folder: RunFolder, settings: Settings, on_ready: OnReady) -> Iterator[Told | Outcome]:
    """What `train` tells, and last of all how it ended: the boundary of the work, where no error goes up."""
    try:
        is_whole = yield from train(folder, settings, on_ready)
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


def train(folder: RunFolder, settings: Settings, on_ready: OnReady) -> Generator[Told, None, bool]:
    """Train what the run's spec.json says, from its newest valid checkpoint. Gives whether it came to its end.

    `on_ready` gets the trainer before its first step, to stop it by. Of several processes the first one saves.
    Raises: UserError for data or a model that is not as it was, or that nothing can be learned from.
    """
    spec = folder.spec()
    config = config_of(spec)
    processes = launched_processes(config.device)
    yield Phase("data")
    material = material_of(spec)
    yield Phase("model")
    base = load_base(find_model(spec["model"]["name"], settings), config, settings, processes.device)
    tokens = material.tokens(base, config)
    trainer = _trainer(base, config, tokens, processes)
    begun = Begun(
        asdict(base.identity), base.device.type, str(base.dtype).removeprefix("torch."), len(tokens.train),
        len(tokens.validation), material.split_digests(), trainer.n_steps, len(material.test),
    )
    _check_same(folder, begun)
    yield begun
    for text in (*base.notes, *tokens.notes, *_data_notes(tokens, trainer)):
        yield Note(0, "data", text)
    run = _Run(folder, trainer, material, begun)
    yield from run.restored()
    on_ready(trainer)
    with _reporter(folder, settings, processes) as reporter:
        for told in run.steps() if processes.is_first else trainer.run():
            if not isinstance(told, Written):
                reporter.write(told)
            yield told
    is_whole = trainer.is_over
    if processes.is_first:
        yield Phase("writing")
        yield from run.written()
    return is_whole


def _trainer(base: Base, config: TrainConfig, tokens: Tokens, processes: Processes) -> Trainer:
    """Raises: UserError if nothing can be learned from the data, or not in this way."""
    if config.objective == "dpo":
        from llm_app.training.preference import PreferenceTrainer  # imports trl

        if processes.count > 1:
            raise UserError("Preference tuning runs in one process: start it without a launcher.", param="objective")
        pairs = [[each for each in part if isinstance(each, Pair)] for part in (tokens.train, tokens.validation)]
        return PreferenceTrainer(base, config, *pairs)
    return Trainer(base, config, tokens.train, tokens.validation, sample_prompts=tokens.prompts, processes=processes)


def _data_notes(tokens: Tokens, trainer: Trainer) -> Iterator[str]:
    """What the model does not learn from, or is not measured on."""
    encoded = [each for each in (*tokens.train, *tokens.validation) if isinstance(each, Encoded)]
    yield from map(str, told_of_masked(encoded))
    if tokens.validation and not trainer.n_validation:
        yield (
            f"None of the {len(tokens.validation):,} held-back examples has a token to learn from: nothing is"
            " validated, and the result is of the last step."
        )


def _check_same(folder: RunFolder, begun: Begun) -> None:
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


@contextlib.contextmanager
def _reporter(folder: RunFolder, settings: Settings, processes: Processes) -> Iterator[Reporter]:
    spec = folder.spec()
    kind = spec["config"]["report_to"] if processes.is_first else "none"
    with contextlib.closing(Reporter(kind, ReportedRun(folder.id, folder.path, settings.home, spec["config"]))) as made:
        yield made


class _Run:
    """A trainer, and the folder that it is saved to and restored from."""

    def __init__(self, folder: RunFolder, trainer: Trainer, material: Material, begun: Begun) -> None:
        self._folder, self._trainer, self._material, self._begun = folder, trainer, material, begun
        self._checkpoints = folder.path / CHECKPOINTS
        self._saved: int | None = None  # step of the last checkpoint
        self._steps: dict[int, Step] = {}
        self._validations: dict[int, Validation] = {}

    def restored(self) -> Iterator[Told]:
        """Bring the trainer to where the newest valid checkpoint left it.

        Raises: NoValidCheckpoint if there are some, all damaged.
        """
        found, problems = newest_valid(self._checkpoints)
        before = read_log(self._folder)
        if found is None:
            if before.steps:
                yield Note(0, "resumed", "No checkpoint had been written yet: training starts from the beginning.")
            return
        self._trainer.restore(found.load())
        self._saved = found.step
        self._steps = {step.step: step for step in before.steps if step.step <= found.step}
        self._validations = {v.step: v for v in before.validations if v.step <= found.step}
        yield Note(found.step, "resumed", " ".join([*problems, f"Training goes on after step {found.step}."]))

    def steps(self) -> Iterator[Event | Written]:
        """What is left of training, with a checkpoint wherever one is due and at the end."""
        trainer = self._trainer
        try:
            for event in trainer.run():
                yield event
                if isinstance(event, Step):
                    self._steps[event.step] = event
                elif isinstance(event, Validation):
                    self._validations[event.step] = event
                if self._is_due(event):
                    yield self._save()
        except (TrainingDiverged, NotEnoughMemory) as error:
            written = self._last_good()
            if written is None:
                raise
            yield written
            kept = f"What was learned up to step {written.step}, the last checkpoint, is kept."
            raise UserError(f"{error.message} {kept}", param=error.param) from error
        if trainer.step > 0 and self._saved != trainer.step:
            yield self._save()

    def written(self) -> Iterator[Told]:
        """Write what was learned: of the step with the lowest validation loss, or of the last one."""
        trainer = self._trainer
        if trainer.step == 0:
            return
        step, best = trainer.step, trainer.best_step
        if best == 0:
            text = "No validation was better than the one before training: the result is of the last step."
            yield Note(step, "no_gain", text)
        elif best is not None and best != step:
            try:
                trainer.restore(at_step(self._checkpoints, best).load())
                step = best
            except Damaged as error:
                yield Note(step, "best_lost", f"{error.message} The result is of the last step.")
        yield self._write(step, is_best=step == best)

    def _is_due(self, event: Event) -> bool:
        """Whether a checkpoint belongs after this event; where a validation follows a step, after that."""
        trainer = self._trainer
        every = trainer.config.save_every or trainer.validates_every
        if isinstance(event, Step):
            validates = event.step % trainer.validates_every == 0 or event.step == trainer.n_steps
            return event.step % every == 0 and not (validates and trainer.n_validation)
        is_new = isinstance(event, Validation) and event.step > 0
        return is_new and (event.step % every == 0 or trainer.best_step == event.step)

    def _save(self) -> Saved:
        """Raises: NoSpace saying how much is needed, UserError if it cannot be written."""
        trainer = self._trainer
        best = trainer.best_step or None  # before the first step there is nothing to keep
        state = trainer.state()
        try:
            save(self._checkpoints, state, step=trainer.step, best_step=best, keep=trainer.config.keep)
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

    def _last_good(self) -> Written | None:
        """After a failure, what the last checkpoint holds, written for use; None without one."""
        try:
            found, _ = newest_valid(self._checkpoints)
        except NoValidCheckpoint:
            return None
        if found is None:
            return None
        self._trainer.restore(found.load())
        return self._write(found.step, is_best=found.step == found.best_step)

    def _write(self, step: int, *, is_best: bool) -> Written:
        """Raises: UserError if it cannot be written."""
        trainer = self._trainer
        place = place_of(trainer.config.method)
        figures = self._material.figures(
            step, list(self._steps.values()), list(self._validations.values()),
            (self._begun.n_train, self._begun.n_validation),
        )
        tuned = Tuned(trainer.adapter_state(), trainer.learner.targets)
        path = self._folder.path / place
        write(path, tuned, trainer.base, trainer.config, figures)
        return Written(place, step, is_best, digest=weights_digest(path))
