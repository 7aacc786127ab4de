"""The training of a classifier as the process does it: rows, baselines, the network, and what all of them come to.

The baselines are learned first, within seconds: they are the bar to beat, and every run has them.
"""

import time
from collections.abc import Generator, Iterator

from llm_app.classify.config import ClassifierConfig
from llm_app.classify.folder import ClassifierFile
from llm_app.classify.majority import Majority
from llm_app.classify.network import NetworkClassifier
from llm_app.classify.tfidf import Tfidf
from llm_app.classify.training.baselines import Learned, best, fit_tfidf, fitted_step, point_of, shares
from llm_app.classify.training.built import Built, build
from llm_app.classify.training.events import FEW
from llm_app.classify.training.targets import metric_of
from llm_app.classify.training.trainer import ClassifierTrainer
from llm_app.config import Settings
from llm_app.engine.turn import Turn
from llm_app.errors import UserError
from llm_app.jobs.classifier import config_of
from llm_app.jobs.classifier_material import ClassifierMaterial, material_of
from llm_app.jobs.classifier_result import Reached, Result
from llm_app.jobs.folder import RunFolder
from llm_app.jobs.train_log import Begun, Phase, Told
from llm_app.jobs.train_outcome import OnReady
from llm_app.jobs.train_saving import Saving, check_same
from llm_app.training.events import Note


def train(folder: RunFolder, settings: Settings, on_ready: OnReady) -> Generator[Told, None, bool]:
    """Train what the run's spec.json says, from its newest valid checkpoint. Gives whether it came to its end.

    `on_ready` gets the trainer before its first step, to stop it by.
    Raises: UserError for data or a model that is not as it was, or that nothing can be learned from.
    """
    spec = folder.spec()
    config = config_of(spec)
    yield Phase("data")
    material = material_of(spec, config)
    result = Result(folder, spec, config, material)
    if config.method == "tfidf":
        yield from _begun(folder, material, None, n_steps=1)
        yield from _told_of_few(len(material.validation_rows), chooses=False)
        yield Phase("baselines")
        yield from _majority(result, material)
        yield from _tfidf_alone(result, material)
        return True
    yield Phase("model")
    built = build(spec["model"]["name"], material.problem, material.train.items, config, settings)
    trainer = ClassifierTrainer(built.learner, config, material.problem, material.train_rows, material.validation_rows)
    yield from _begun(folder, material, built, n_steps=trainer.n_steps)
    for text in built.notes:
        yield Note(0, "data", text)
    yield from _told_of_cut(trainer)
    yield from _told_of_few(trainer.n_validation, chooses=True)
    yield from _told_of_epochs(trainer, config)
    on_ready(trainer)
    yield Phase("baselines")
    yield from _majority(result, material)
    yield from _tfidf(result, material)
    yield Phase("first")
    saving = Saving(folder, trainer, lambda *at: _write(result, built, trainer, *at))
    yield from saving.restored()
    yield from saving.run()
    yield Phase("writing")
    yield from saving.written()
    return saving.is_whole


def _begun(folder: RunFolder, material: ClassifierMaterial, built: Built | None, *, n_steps: int) -> Iterator[Told]:
    """`built`: what learns, None for a TF-IDF model."""
    begun = Begun(
        model={} if built is None else dict(built.identity), device="cpu" if built is None else built.device.type,
        dtype="float64" if built is None else str(built.dtype).removeprefix("torch."),
        n_train=len(material.train.items), n_validation=len(material.validation.items),
        split=material.split_digests(), n_steps=n_steps, n_test=len(material.test.items),
    )  # fmt: skip
    check_same(folder, begun)
    yield begun
    for note in material.notes:
        yield Note(0, "data", note.text, note.text_zh)


def _told_of_cut(trainer: ClassifierTrainer) -> Iterator[Note]:
    if trainer.n_cut:
        n = trainer.config.max_length
        yield Note(
            0, "data", f"{trainer.n_cut:,} rows to train on are longer than {n:,} tokens: their end is cut.",
            f"有 {trainer.n_cut:,} 行训练数据超过 {n:,} 个词元：末尾被截去。",
        )  # fmt: skip


def _told_of_few(n: int, *, chooses: bool) -> Iterator[Note]:
    """`chooses`: whether weights are chosen by these `n` rows, however few they are."""
    if not 0 < n < FEW:
        return
    what = "which weights are kept rests on these alone, and" if chooses else "nothing is chosen by them, and"
    what_zh = "保留哪一步的权重只取决于这几行，" if chooses else "不据此做任何选择，"
    yield Note(
        0, "few", f"Only {n} rows are held back for validation: {what} no temperature is fitted.",
        f"只留出 {n} 行用于验证：{what_zh}也不拟合温度。",
    )  # fmt: skip


def _told_of_epochs(trainer: ClassifierTrainer, config: ClassifierConfig) -> Iterator[Note]:
    """What automatic epochs came to, where the table's size decided it."""
    n = trainer.config.n_epochs
    if n > config.n_epochs:
        yield Note(
            0, "epochs", f"Epochs (automatic): {n:g}, so that few rows still make {trainer.n_steps:,} steps.",
            f"轮数（自动）：{n:g}，使行数较少时也有 {trainer.n_steps:,} 步。",
        )  # fmt: skip


def _majority(result: Result, material: ClassifierMaterial) -> Iterator[Told]:
    if not result.has("majority"):
        problem = material.problem
        found = tuple(shares(problem, material.train_rows.truths))
        yield from result.scored(Majority(ClassifierFile("majority", problem.kind, problem.labels, shares=found)))


def _tfidf(result: Result, material: ClassifierMaterial) -> Iterator[Told]:
    """As a baseline: a table that has no words has a bar less."""
    if not result.has("tfidf"):
        try:
            found = best(_all_fitted(result, material))
        except UserError as error:
            text = f"There is no TF-IDF baseline. {error.message}"
            yield Note(0, "no_baseline", text, f"没有 TF-IDF 基线：{error.message}")
            return
        file = result.calibrated(lambda file: Tfidf(file, found.model), result.file("tfidf"))
        yield from result.scored(Tfidf(file, found.model))


def _tfidf_alone(result: Result, material: ClassifierMaterial) -> Iterator[Told]:
    """As the method that was chosen: fitted at once, which counts as a step."""
    started = time.perf_counter()
    fitted = _all_fitted(result, material)
    found = best(fitted)
    yield fitted_step(found.loss, len(material.train_rows), time.perf_counter() - started)
    if material.validation.items:
        metric = metric_of(material.problem, weighs_classes=result.config.weighs_classes)
        yield point_of(found, material.problem, material.train_rows, material.validation_rows, metric)
    yield Phase("writing")
    at = Reached(step=1, is_best=len(fitted) > 1, is_whole=True)
    yield from result.written(lambda file: Tfidf(file, found.model), result.file("tfidf"), found.model.write, at)


def _all_fitted(result: Result, material: ClassifierMaterial) -> list[Learned]:
    train, validation = material.train_rows, material.validation_rows
    return list(fit_tfidf(
        material.problem, (train.items, train.truths), (validation.items, validation.truths),
        weighs_classes=result.config.weighs_classes,
    ))  # fmt: skip


def _write(
    result: Result, built: Built, trainer: ClassifierTrainer, saving: Saving, step: int, is_best: bool
) -> Iterator[Told]:
    """What the trainer holds, as a classifier in the run's folder; scored where the training came to its end."""
    built.learner.trains(False)
    built.learner.rescale(*trainer.scale)
    file = result.file(result.config.method, max_length=built.max_length, base=built.base)
    yield from result.written(
        lambda file: NetworkClassifier(built.learner.network, file, {}, Turn()), file, built.write,
        Reached(step, is_best, saving.is_whole),
    )  # fmt: skip
