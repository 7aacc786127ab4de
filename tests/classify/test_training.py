"""The loop that trains classifiers: it learns, resumes bit-equal, stops early, and keeps to its contract."""

import math
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification

from llm_app.classify.config import LEAST_STEPS, ClassifierConfig
from llm_app.classify.training.augment import augmented
from llm_app.classify.training.batches import Batches, passes
from llm_app.classify.training.built import Built, build
from llm_app.classify.training.events import Point
from llm_app.classify.training.examples import Examples
from llm_app.classify.training.loop import LEAST_CURVE, MOST_CURVE, for_the_curve
from llm_app.classify.training.targets import Objective, Problem, score
from llm_app.classify.training.trainer import ClassifierTrainer
from llm_app.classify.types import Item, Truth
from llm_app.config import Settings
from llm_app.errors import UserError
from llm_app.training.events import Note, Step
from llm_app.training.trainer import TrainingDiverged
from tests.classify.learning import LSTM, SINGLE, examples, logits_of, rows, trained
from tests.classify.making import make_encoder

ENCODER = ClassifierConfig(epochs=2.0, batch_size=8, precision="fp32", learning_rate=3e-3, max_length=32)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Without a head."""
    return make_encoder(tmp_path_factory.mktemp("encoder") / "tiny", has_head=False)


def built(config: ClassifierConfig, train: Examples, base: Path | None = None, problem: Problem = SINGLE) -> Built:
    settings = Settings(home=Path("nowhere") if base is None else base.parent / "home")  # digests are kept there
    return build(None if base is None else str(base), problem, train.items, config, settings)


def trainer(
    config: ClassifierConfig = LSTM, base: Path | None = None, *, n: int = 64, n_validation: int = 16
) -> ClassifierTrainer:
    train = examples(n)
    return ClassifierTrainer(
        built(config, train, base).learner, config, SINGLE, train, examples(n_validation, seed=1)
    )


def test_an_lstm_learns_which_words_decide() -> None:
    made = trained(trainer(replace(LSTM, epochs=6.0), n=128))
    items, truths = rows(40, seed=2)
    guessed = [SINGLE.labels[row[1] > row[0]] for row in logits_of(made, items)]
    assert guessed == truths


@pytest.mark.parametrize("method", ["encoder", "lora", "lstm"])
def test_a_run_that_is_saved_and_restored_makes_the_same_steps_to_the_last_bit(
    method: str, encoder: Path, tiny_qwen2: Path
) -> None:
    base = {"encoder": encoder, "lora": tiny_qwen2, "lstm": None}[method]
    config = replace(ENCODER, method=method, augmentation="swap", rank=2 if method == "lora" else 16)
    whole = trained(trainer(config, base, n=32, n_validation=8))
    half = trainer(config, base, n=32, n_validation=8)
    for event in half.run():
        if isinstance(event, Step) and event.step == 3:
            break
    rest = trainer(config, base, n=32, n_validation=8)
    rest.restore(half.state())
    assert torch.equal(trained(rest).learner.weights.flat, whole.learner.weights.flat)
    assert rest.state().values == whole.state().values


def test_a_checkpoint_of_other_labels_is_refused() -> None:
    train = examples(16)
    three = Problem("single", ("negative", "other", "positive"))
    other = ClassifierTrainer(built(LSTM, train, problem=three).learner, LSTM, three, train, Examples([], []))
    with pytest.raises(UserError, match="of another model or of other labels"):
        trainer(n=16).restore(other.state())


def test_the_gradient_of_a_step_is_that_of_torch_over_the_padded_batch(encoder: Path) -> None:
    """Oracle: transformers' model and torch's cross-entropy, in one pass over the same rows."""
    train = examples(8)
    made = built(replace(ENCODER, batch_size=8), train, encoder)
    model = AutoModelForSequenceClassification.from_pretrained(encoder, num_labels=2)
    model.load_state_dict(made.learner.network.module.state_dict())
    for module in (*made.learner.network.module.modules(), *model.modules()):
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    loop = ClassifierTrainer(made.learner, replace(ENCODER, batch_size=8), SINGLE, train, Examples([], []))
    next(loop.run())
    tokenizer = made.learner.network.tokenizer  # type: ignore[attr-defined]
    inputs = tokenizer([item.text for item in train.items], padding=True, return_tensors="pt")
    loss = torch.nn.functional.cross_entropy(model(**inputs).logits, SINGLE.tensor(train.truths))
    loss.backward()
    norm = torch.cat([parameter.grad.flatten() for parameter in model.parameters()]).norm()
    scale = min(1.0, 1.0 / (float(norm) + 1e-6))  # as the step clips it
    theirs = {name: parameter.grad * scale for name, parameter in model.named_parameters()}
    weights = loop.learner.weights
    start = 0
    for name, shape in zip(weights.names, weights.shapes, strict=True):
        end = start + math.prod(shape)
        assert torch.allclose(weights.gradient[start:end].view(shape), theirs[name], atol=2e-5), name
        start = end


def test_automatic_epochs_are_more_where_few_rows_would_make_too_few_steps() -> None:
    automatic = ClassifierConfig(method="lstm", precision="fp32")
    assert trainer(automatic, n=40, n_validation=4).n_steps == LEAST_STEPS["lstm"]
    assert trainer(replace(automatic, epochs=3.0), n=40, n_validation=4).n_steps == 6, "epochs that are given stay"
    assert automatic.for_rows(32_000).n_epochs == 10.0 and ClassifierConfig().for_rows(32_000).n_epochs == 3.0


def test_training_ends_early_once_so_many_validations_bring_no_gain() -> None:
    loop = trainer(replace(LSTM, epochs=40.0, patience=2))
    events = list(loop.run())
    assert loop.step < loop.n_steps
    points = [event for event in events if isinstance(event, Point)]
    gains = [max((point.score, -point.loss) for point in points[:n]) for n in range(1, len(points) + 1)]
    assert gains[-3:] == [gains[-3]] * 3 and isinstance(events[-1], Note)
    assert events[-1].kind == "stopped_early"


def test_the_learning_curve_tells_error_on_training_and_validation_rows() -> None:
    points = [event for event in trainer(replace(LSTM, epochs=5.0)).run() if isinstance(event, Point)]
    assert [point.step for point in points] == list(range(0, 21, 2))
    assert points[-1].training_score == points[-1].score == 1.0
    assert points[-1].n_validation == 16 and points[-1].n_training == 64
    assert points[-1].loss < points[0].loss and points[-1].training_loss < points[0].training_loss


@pytest.mark.parametrize(("n_rows", "n_validation", "n_shown"), [
    (999, 450, 450), (999, 9_000, MOST_CURVE), (999, 4, LEAST_CURVE), (33, 4, 33), (3, 100, 3),
])  # fmt: skip
def test_the_curve_shows_as_many_training_rows_as_rows_held_back_but_no_handful_spread_over_all(
    n_rows: int, n_validation: int, n_shown: int
) -> None:
    places = for_the_curve(n_rows, n_validation)
    gaps = {after - before for before, after in zip(places, places[1:], strict=False)}
    assert len(places) == n_shown and max(gaps, default=0) - min(gaps, default=0) <= 1
    assert places[0] == 0 and n_rows - places[-1] <= max(gaps, default=n_rows) + 1


def test_a_stopped_run_ends_between_two_steps() -> None:
    loop = trainer()
    for event in loop.run():
        if isinstance(event, Step):
            loop.stop()
    assert loop.step == 1 and not loop.is_over


def test_a_loss_that_is_no_number_ends_training_with_a_sentence() -> None:
    loop = trainer()
    loop.learner.weights.flat.fill_(torch.nan)
    with pytest.raises(TrainingDiverged, match="NaN or infinite"):
        list(loop.run())


def test_rows_that_are_all_alike_teach_nothing() -> None:
    train = Examples([Item("a"), Item("b")], ["positive", "positive"])
    with pytest.raises(UserError, match="same label"):
        ClassifierTrainer(built(LSTM, train).learner, LSTM, SINGLE, train, Examples([], []))


def test_a_regression_of_large_values_is_learned_on_their_own_scale() -> None:
    items, labels = rows(64)
    truths: list[Truth] = [5000.0 + 400.0 * (label == "positive") for label in labels]
    problem, train = Problem("regression", ("price",)), Examples(items, truths)
    config = replace(LSTM, epochs=12.0)
    loop = trained(ClassifierTrainer(built(config, train, problem=problem).learner, config, problem, train, train))
    loop.learner.rescale(*loop.scale)
    found = [row[0] for row in logits_of(loop, items)]
    assert found == pytest.approx([float(str(truth)) for truth in truths], abs=100.0)


def test_several_labels_a_row_are_learned_each_by_itself() -> None:
    items, truths = list[Item](), list[Truth]()
    for number in range(64):
        said = [name for bit, name in ((1, "dull"), (2, "funny")) if number & bit]
        items.append(Item(" ".join([*said, "film", "the"][:: 1 if number % 8 < 4 else -1])))
        truths.append(tuple(said))
    problem, train = Problem("multi", ("dull", "funny")), Examples(items, truths)
    config = replace(LSTM, epochs=12.0)
    loop = trained(ClassifierTrainer(built(config, train, problem=problem).learner, config, problem, train, train))
    said_by_it = [tuple(problem.labels[place] for place in (0, 1) if row[place] > 0) for row in logits_of(loop, items)]
    assert said_by_it == truths


# The parts ------------------------------------------------------------------------------------------------------------


def test_every_row_is_seen_once_an_epoch_beside_rows_of_like_length() -> None:
    lengths = [5 + 37 * number % 100 for number in range(1000)]
    batches = Batches(lengths, 10, seed=0)
    for epoch in range(2):
        seen = [batches.rows(epoch * 100 + step) for step in range(100)]
        assert Counter(row for batch in seen for row in batch) == dict.fromkeys(range(1000), 1)
        n_padded = sum(len(batch) * max(lengths[row] for row in batch) for batch in seen)
        assert n_padded < 1.05 * sum(lengths)
    assert Batches(lengths, 10, seed=0).rows(137) == batches.rows(137) != Batches(lengths, 10, seed=1).rows(137)


def test_long_rows_go_through_in_several_passes() -> None:
    assert list(passes([10, 10, 30, 200, 5], 90)) == [range(3), range(3, 4), range(4, 5)]


@pytest.mark.parametrize("kind", ["delete", "swap"])
def test_each_epoch_sees_another_version_of_a_row_and_the_same_one_again(kind: str) -> None:
    item = Item("one two three four five six seven eight nine ten eleven twelve", "第一句话里有很多字")
    seen = [augmented(item, kind, seed=0, epoch=epoch, row=3) for epoch in range(8)]
    assert len(set(seen)) > 1 and seen[2] == augmented(item, kind, seed=0, epoch=2, row=3)
    for version in seen:
        letters = Counter(version.text.split())
        assert letters <= Counter(item.text.split()) if kind == "delete" else letters == Counter(item.text.split())
        assert version.pair is not None and Counter(version.pair) <= Counter(item.pair)


def test_a_row_of_one_word_keeps_it() -> None:
    assert {augmented(Item("word"), "delete", seed=0, epoch=epoch, row=0).text for epoch in range(30)} == {"word"}


def test_class_weights_make_each_label_count_alike() -> None:
    """Oracle: torch's weighted cross-entropy with scikit-learn's balanced weights."""
    from sklearn.utils.class_weight import compute_class_weight

    truths: list[Truth] = ["negative"] * 9 + ["positive"] * 3
    wanted = SINGLE.tensor(truths)
    logits = torch.randn(12, 2, generator=torch.Generator().manual_seed(0))
    weights = compute_class_weight("balanced", classes=wanted.unique().numpy(), y=wanted.numpy())
    expected = torch.nn.functional.cross_entropy(logits, wanted, torch.tensor(weights, dtype=torch.float32))
    objective = Objective(SINGLE, wanted, weighs_classes=True)
    assert float(objective.losses(logits, wanted).sum()) / objective.weight(wanted) == pytest.approx(float(expected))


@pytest.mark.parametrize(("metric", "kind"), [("accuracy", "single"), ("macro_f1", "single"), ("macro_f1", "multi")])
def test_the_score_that_chooses_equals_scikit_learn(metric: str, kind: str) -> None:
    from sklearn import metrics

    drawn = torch.Generator().manual_seed(1)
    logits = torch.randn(50, 3, generator=drawn)
    problem = Problem("single" if kind == "single" else "multi", ("a", "b", "c"))
    wanted = torch.randint(3, (50,) if kind == "single" else (50, 3), generator=drawn)
    wanted = wanted if kind == "single" else (wanted > 0).float()
    guessed = logits.argmax(1) if kind == "single" else (logits >= 0).int()
    expected = (
        metrics.accuracy_score(wanted, guessed) if metric == "accuracy"
        else metrics.f1_score(wanted, guessed, average="macro")
    )  # fmt: skip
    assert score(metric, problem, logits, wanted) == pytest.approx(expected)
