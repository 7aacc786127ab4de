"""Options that differ."""

from llm_app.training.compare_configs import differences, non_defaults
from llm_app.training.config import TrainConfig


def test_non_defaults_are_the_options_that_somebody_changed_in_their_order() -> None:
    config = TrainConfig(use_dora=True, rank=8, targets=("q_proj",), epochs=3.0)
    assert list(non_defaults(config).items()) == [("rank", 8), ("targets", ("q_proj",)), ("use_dora", True)]


def test_the_defaults_have_no_non_defaults() -> None:
    assert non_defaults(TrainConfig()) == {}


def test_differences_give_both_values() -> None:
    one, other = TrainConfig(rank=8, seed=1), TrainConfig(seed=1, learning_rate=1e-4)
    assert differences(one, other) == {"learning_rate": (None, 1e-4), "rank": (8, 16)}
