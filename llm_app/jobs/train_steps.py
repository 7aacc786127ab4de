"""Training as the process does it that trains: data, model, steps, checkpoints, and what is left in the end."""

import contextlib
from collections.abc import Generator, Iterator
from dataclasses import asdict

from llm_app.config import Settings
from llm_app.engine.catalog import find_model
from llm_app.errors import UserError
from llm_app.jobs.folder import RunFolder
from llm_app.jobs.train import config_of
from llm_app.jobs.train_log import Begun, Phase, Told, Written
from llm_app.jobs.train_material import Material, Tokens, material_of
from llm_app.jobs.train_outcome import OnReady
from llm_app.jobs.train_result import place_of, weights_digest
from llm_app.jobs.train_saving import Saving, check_same
from llm_app.training.adapter_folder import Tuned, write
from llm_app.training.base import Base, load_base
from llm_app.training.config import TrainConfig
from llm_app.training.encode import Encoded, told_of_masked
from llm_app.training.events import Note
from llm_app.training.pairs import Pair
from llm_app.training.processes import Processes, launched_processes
from llm_app.training.reporting import ReportedRun, Reporter
from llm_app.training.trainer import Trainer


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
    check_same(folder, begun)
    yield begun
    for text in (*base.notes, *tokens.notes, *_data_notes(tokens, trainer)):
        yield Note(0, "data", text)
    saving = Saving(
        folder, trainer, lambda *at: _write(folder, trainer, material, begun, *at), save_every=config.save_every,
        keep=config.keep,
    )  # fmt: skip
    yield from saving.restored()
    on_ready(trainer)
    with _reporter(folder, settings, processes) as reporter:
        for told in saving.run() if processes.is_first else trainer.run():
            if not isinstance(told, Written):
                reporter.write(told)
            yield told
    is_whole = trainer.is_over
    if processes.is_first:
        yield Phase("writing")
        yield from saving.written()
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


@contextlib.contextmanager
def _reporter(folder: RunFolder, settings: Settings, processes: Processes) -> Iterator[Reporter]:
    spec = folder.spec()
    kind = spec["config"]["report_to"] if processes.is_first else "none"
    with contextlib.closing(Reporter(kind, ReportedRun(folder.id, folder.path, settings.home, spec["config"]))) as made:
        yield made


def _write(
    folder: RunFolder, trainer: Trainer, material: Material, begun: Begun, saving: Saving, step: int, is_best: bool
) -> Iterator[Told]:
    """What the trainer holds, as an adapter or a model in the run's folder.

    Raises: UserError if it cannot be written.
    """
    figures = material.figures(
        step, list(saving.steps.values()), list(saving.validations.values()), (begun.n_train, begun.n_validation)
    )
    place = place_of(trainer.config.method)
    path = folder.path / place
    write(path, Tuned(trainer.adapter_state(), trainer.learner.targets), trainer.base, trainer.config, figures)
    yield Written(place, step, is_best, digest=weights_digest(path))
