"""The training of a tagger as the process does it: sentences, the baseline, the encoder, and what both come to."""

import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace

from llm_app.classify.entities.fit import TaggerTrainer
from llm_app.classify.entities.train import Parts, best_baseline, new_trainer, parts_of, told_of_words
from llm_app.classify.training.baselines import fitted_step
from llm_app.classify.training.built import encoder_folder
from llm_app.classify.training.events import FEW
from llm_app.config import ModelConfig, Settings
from llm_app.data.conll import TaggedFile
from llm_app.engine.identity import digest_files
from llm_app.engine.loading import choose_device
from llm_app.engine.plain_folder import PlainFolder
from llm_app.engine.weights import TAGS
from llm_app.jobs.classifier_result import Reached
from llm_app.jobs.folder import RunFolder
from llm_app.jobs.tagger import config_of, files_of
from llm_app.jobs.tagger_result import TaggerResult
from llm_app.jobs.train_log import Begun, Phase, Told
from llm_app.jobs.train_outcome import OnReady
from llm_app.jobs.train_saving import Saving, check_same
from llm_app.training.base import compute_dtype
from llm_app.training.events import Note

BASELINE = "features"


def train(folder: RunFolder, settings: Settings, on_ready: OnReady) -> Generator[Told, None, bool]:
    """Train what the run's spec.json says, from its newest valid checkpoint. Gives whether it came to its end.

    `on_ready` gets the trainer before its first step, to stop it by.
    Raises: UserError for data or a model that is not as it was, or that nothing can be learned from.
    """
    spec = folder.spec()
    config = config_of(spec)
    yield Phase("data")
    files = files_of(spec)
    parts = parts_of(files[0], files[1] if len(files) > 1 else None, config)
    result = TaggerResult(folder, spec, config, parts)
    if config.method == BASELINE:
        yield from _begun(folder, parts, files, Begun({}, "cpu", "float32", 0, 0, {}, n_steps=1))
        yield Phase("baselines")
        yield from _baseline_alone(result, parts)
        return True
    yield Phase("model")
    device = choose_device(ModelConfig(device="auto"))
    base = PlainFolder(encoder_folder(spec["model"]["name"], settings), TAGS)
    trainer = new_trainer(parts, config, base, device)
    dtype = str(compute_dtype(config.precision, device)).removeprefix("torch.")
    identity = {"weights": digest_files(base.files, settings)}
    yield from _begun(folder, parts, files, Begun(identity, device.type, dtype, 0, 0, {}, n_steps=trainer.n_steps))
    for note in told_of_words(trainer, parts):
        yield Note(0, "data", note.text, note.text_zh)
    if 0 < (n := trainer.n_validation) < FEW:
        text = f"Only {n} sentences are held back for validation: which weights are kept rests on these alone."
        yield Note(0, "few", text, f"只留出 {n} 个句子用于验证：保留哪一步的权重只取决于这几句。")
    on_ready(trainer)
    yield Phase("baselines")
    if not result.has(BASELINE):
        yield from result.scored(best_baseline(parts))
    yield Phase("first")
    saving = Saving(folder, trainer, lambda *at: _write(result, trainer, *at))
    yield from saving.restored()
    yield from saving.run()
    yield Phase("writing")
    yield from saving.written()
    return saving.is_whole


def _begun(folder: RunFolder, parts: Parts, files: Sequence[TaggedFile], begun: Begun) -> Iterator[Told]:
    """`begun` gets the parts."""
    begun = replace(
        begun, n_train=len(parts.train), n_validation=len(parts.validation), n_test=len(parts.test),
        split=parts.digests(),
    )  # fmt: skip
    check_same(folder, begun)
    yield begun
    for file in files:
        for note in file.notes:
            yield Note(0, "data", f"{file.name}: {note.text}", f"{file.name}：{note.text_zh}")
        if file.problems:
            first = file.problems[0]
            n, line = len(file.problems), first.origin.line
            yield Note(
                0, "data", f"{file.name}: {n:,} sentences are left out; line {line:,}: {first.reason}.",
                f"{file.name}：略去 {n:,} 个句子；第 {line:,} 行：{first.reason_zh or first.reason}。",
            )  # fmt: skip
    for note in parts.notes():
        yield Note(0, "data", note.text, note.text_zh)


def _baseline_alone(result: TaggerResult, parts: Parts) -> Iterator[Told]:
    """As the method that was chosen: fitted at once, which counts as a step."""
    started = time.perf_counter()
    tagger = best_baseline(parts)
    loss = tagger.loss(parts.train)
    yield fitted_step(loss, sum(len(sentence.tokens) for sentence in parts.train), time.perf_counter() - started)
    yield Phase("writing")
    yield from result.written(tagger, Reached(step=1, is_best=bool(parts.validation), is_whole=True))


def _write(
    result: TaggerResult, trainer: TaggerTrainer, saving: Saving, step: int, is_best: bool
) -> Iterator[Told]:
    """What the trainer holds, as a tagger in the run's folder; scored where the training came to its end."""
    trainer.learner.trains(False)
    yield from result.written(trainer.tagger, Reached(step, is_best, saving.is_whole))
