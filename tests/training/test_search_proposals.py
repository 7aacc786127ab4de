"""What a search tries next, and which trial it stops early; Optuna is the independent source."""

import math
import random
from collections.abc import Callable, Sequence
from typing import Any

import optuna
import pytest

from llm_app.errors import UserError
from llm_app.training.config import TrainConfig
from llm_app.training.search_proposals import (
    MAX_COMBINATIONS,
    N_RANDOM_TRIALS,
    STRATEGIES,
    check_strategy,
    propose,
    seed_of,
)
from llm_app.training.search_space import Params, Space, parse_space
from llm_app.training.search_trials import (
    N_FREE_POINTS,
    N_WHOLE_TRIALS,
    State,
    Trial,
    is_losing,
    leader,
    ranking,
)

RATE = "learning_rate=1e-6..1e-1:log"


def space_of(*texts: str) -> Space:
    return parse_space(texts, TrainConfig)


def always(_params: Params) -> bool:
    return True


def trial(number: int, params: Params, *losses: float, state: State = "done") -> Trial:
    return Trial(number, params, points=tuple(enumerate(losses, start=1)), state=state)


def search(strategy: str, space: Space, seed: int, n: int, loss: Callable[[Params], float]) -> list[Trial]:
    """A whole search of trials that are measured once."""
    history: list[Trial] = []
    while len(history) < n:
        params = propose(strategy, space, seed, history, always)
        if params is None:
            break
        history.append(trial(len(history), params, loss(params)))
    return history


def distance(params: Params) -> float:
    return abs(math.log10(params["learning_rate"]) + 3.5)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_same_seed_and_history_give_the_same_proposal(strategy: str) -> None:
    space = space_of("learning_rate=1e-6..1e-1:log:60", "use_dora")
    history = search("random", space, 3, 12, distance)
    assert propose(strategy, space, 7, history, always) == propose(strategy, space, 7, list(history), always)


@pytest.mark.parametrize("strategy", ["random", "bayes"])
def test_another_seed_gives_another_search(strategy: str) -> None:
    one, other = (search(strategy, space_of(RATE), seed, 8, distance) for seed in (0, 1))
    assert not {t.params["learning_rate"] for t in one} & {t.params["learning_rate"] for t in other}


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_setting_of_a_finite_space_is_tried_once_and_then_there_is_none_left(strategy: str) -> None:
    space = space_of("rank=8,16,32", "use_dora", "schedule=linear,cosine")
    tried = [tuple(t.params.values()) for t in search(strategy, space, 0, 50, lambda params: params["rank"])]
    assert len(tried) == len(set(tried)) == 12


def test_a_grid_is_tried_in_its_order() -> None:
    tried = [t.params for t in search("grid", space_of("rank=8,16", "use_dora"), 0, 3, lambda params: 1.0)]
    assert tried == [
        {"rank": 8, "use_dora": False}, {"rank": 8, "use_dora": True}, {"rank": 16, "use_dora": False},
    ]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_settings_that_do_not_fit_together_are_left_out(strategy: str) -> None:
    space, history = space_of("method=lora,full", "use_dora"), list[Trial]()
    while (params := propose(strategy, space, 0, history, lambda p: p["method"] == "lora" or not p["use_dora"])):
        history.append(trial(len(history), params, 1.0))
    assert len(history) == 3
    assert {"method": "full", "use_dora": True} not in [t.params for t in history]


@pytest.mark.parametrize(("text", "words"), [
    ("dropout=0..0.2", "dropout=0.0..0.2:5"), (RATE, ":log:5"), ("batch_size=1..1000:1000", "at most 10,000"),
])
def test_a_grid_needs_a_countable_space(text: str, words: str) -> None:
    assert MAX_COMBINATIONS == 10_000
    with pytest.raises(UserError, match=words):
        check_strategy("grid", space_of(text, "rank=1..256:256"))


def test_the_study_made_anew_of_the_history_proposes_what_one_that_lived_through_it_does() -> None:
    # oracle: a study of Optuna that was told the trials one by one
    space, rng = space_of(RATE, "dropout=0..0.3", "rank=4..64"), random.Random(0)
    study = optuna.create_study(direction="minimize")
    axes = {
        "learning_rate": optuna.distributions.FloatDistribution(1e-6, 1e-1, log=True),
        "dropout": optuna.distributions.FloatDistribution(0.0, 0.3),
        "rank": optuna.distributions.IntDistribution(4, 64),
    }
    history: list[Trial] = []
    for number in range(12):
        losses = [rng.uniform(0, 3) for _ in range(3)]
        params = {axis.name: axis.draw(rng) for axis in space}
        study.enqueue_trial(params)
        lived = study.ask(axes)
        state: State = "pruned" if number % 4 == 3 else "done"
        for place, loss in enumerate(losses):
            lived.report(loss, place)
        if state == "pruned":
            study.tell(lived, state=optuna.trial.TrialState.PRUNED)
        else:
            study.tell(lived, min(losses))
        history.append(trial(number, params, *losses, state=state))
    study.sampler = optuna.samplers.TPESampler(seed=seed_of(5, 12, 0), n_startup_trials=N_RANDOM_TRIALS)
    asked: dict[str, Any] = study.ask(axes).params
    proposed = propose("bayes", space, 5, history, always)
    assert proposed == pytest.approx(asked, rel=1e-3)  # ours is rounded to four digits


def test_bayes_comes_closer_to_the_best_setting_than_chance() -> None:
    def best(strategy: str, seed: int) -> float:
        return min(t.losses[0] for t in search(strategy, space_of(RATE), seed, 20, distance))

    seeds = range(6)
    assert sum(best("bayes", seed) for seed in seeds) < 0.5 * sum(best("random", seed) for seed in seeds)


def test_bayes_turns_away_from_settings_that_fail() -> None:
    space, history = space_of(RATE), list[Trial]()
    for number in range(24):
        params = propose("bayes", space, 0, history, always)
        assert params is not None
        fails = params["learning_rate"] > 1e-4  # three fifths of the range
        made = trial(number, params, state="failed") if fails else trial(number, params, 2.0 + 0.1 * number)
        history.append(made)
    late = [t for t in history if t.number >= 12]
    assert sum(t.state == "failed" for t in late) <= 4  # by chance, seven of twelve


def test_the_median_rule_decides_as_optunas_median_pruner() -> None:
    # oracle: optuna.pruners.MedianPruner
    rng = random.Random(0)
    decided = []
    for _ in range(150):
        n_others, n_points = rng.randrange(7), 1 + rng.randrange(6)
        study = optuna.create_study(
            pruner=optuna.pruners.MedianPruner(n_startup_trials=N_WHOLE_TRIALS, n_warmup_steps=N_FREE_POINTS),
        )
        others = []
        for number in range(n_others):
            state: State = "pruned" if rng.random() < 0.2 else "done"
            losses = [rng.gauss(1.0, 0.3) for _ in range(rng.choice([3, 6]))]
            others.append(trial(number, {}, *losses, state=state))
            theirs = optuna.trial.TrialState.PRUNED if state == "pruned" else optuna.trial.TrialState.COMPLETE
            study.add_trial(optuna.trial.create_trial(
                state=theirs, value=min(losses), intermediate_values=dict(enumerate(losses)),
            ))
        losses = [rng.gauss(1.4, 0.3) for _ in range(n_points)]
        asked = study.ask()
        for place, loss in enumerate(losses):
            asked.report(loss, place)
        ours = is_losing(trial(n_others, {}, *losses, state="running"), others)
        assert ours == asked.should_prune()
        decided.append(ours)
    assert 15 < sum(decided) < 135  # both happened


def test_the_leader_is_the_whole_trial_with_the_lowest_loss() -> None:
    trials = [
        trial(0, {}, 2.0, 1.5), trial(1, {}, 1.9, 1.2, 1.4), trial(2, {}, 1.0, state="cut"),
        trial(3, {}, 1.1, state="pruned"), trial(4, {}, 0.1, state="failed"),
    ]
    assert leader(trials) is trials[1]
    assert trials[1].best == (2, 1.2)
    assert [t.number for t in ranking(trials)] == [1, 0, 2, 3, 4]


@pytest.mark.parametrize(("states", "number"), [(("cut",), 0), (("failed", "pruned"), None), ((), None)])
def test_a_trial_that_ran_out_of_time_leads_where_no_other_came_to_its_end(
    states: Sequence[State], number: int | None
) -> None:
    found = leader([trial(number, {}, 1.0, state=state) for number, state in enumerate(states)])
    assert (found and found.number) == number
