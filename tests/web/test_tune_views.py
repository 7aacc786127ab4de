"""What the Tune tab shows: curves, the run while it goes on, the plan, settings, commands, the leaderboard."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from llm_app.config import Settings
from llm_app.data.audit import Audit, Leak
from llm_app.data.formats import Mapping
from llm_app.data.mix import DatasetSpec
from llm_app.data.types import BadRow, Note, Origin
from llm_app.jobs.folder import RunFolder
from llm_app.jobs.store import Run
from llm_app.jobs.train_forecast import Forecast
from llm_app.jobs.train_log import Begun, Discarded, Phase, Written, line_of
from llm_app.jobs.train_plan import Changed, Shown, TrainPlan
from llm_app.training.config import TrainConfig
from llm_app.training.events import Saved, Step, Validation
from llm_app.training.search_config import SearchConfig
from llm_app.training.search_trials import Trial
from llm_app.web.runs import views
from llm_app.web.tune import plan_view
from llm_app.web.tune.command import shown_command
from llm_app.web.tune.curves import MAX_POINTS, Line, Points, curves, spark
from llm_app.web.tune.live import TrainTally, rising
from llm_app.web.tune.search_view import leaderboard
from llm_app.web.tune.settings import Asked
from llm_app.web.tune.settings_view import difference_table, value_text
from llm_app.web.tune.tab import STEPS
from tests.web.test_results import words

PLAIN = ("", "")


def step(n: int, loss: float = 1.5, **changed: Any) -> Step:
    return Step(**({
        "step": n, "n_steps": 40, "epoch": n / 10, "loss": loss, "learning_rate": 2e-4, "gradient_norm": 0.75,
        "n_tokens": 200, "n_trained_tokens": 50, "seconds": 0.5, "memory_bytes": 1_300_000_000,
    } | changed))  # fmt: skip


@pytest.fixture
def tally(tmp_path: Path) -> TrainTally:
    return TrainTally(RunFolder.create(tmp_path, {"kind": "train"}))


def tell(tally: TrainTally, *told: Any) -> None:
    for event in told:
        tally.add(line_of(event))


def test_a_running_training_shows_losses_rate_norm_speed_memory_and_epoch(tally: TrainTally) -> None:
    tell(tally, Validation(0, 2.5, 9), step(1, 2.25), step(2, 1.75), Validation(2, 1.875, 9))
    said = words(tally.body())
    for figure in ("1.75", "1.88", "best 1.88 at step 2", "2.00e-04", "0.75", "400", "1.3 GB", "0.20"):
        assert figure in said, figure


def test_the_phase_is_told_until_the_first_step(tally: TrainTally) -> None:
    tell(tally, Phase("model"))
    assert "Loading the model" in tally.body()
    tell(tally, step(1))
    assert "Loading the model" not in tally.body()


def test_a_resumed_run_draws_only_the_steps_that_count(tally: TrainTally) -> None:
    tell(tally, step(1, 3.0), step(2, 9.0), Validation(2, 9.0, 5), step(3, 9.0), step(2, 2.0))
    training, validation = tally.lines()
    assert list(training.points) == [(1.0, 3.0), (2.0, 2.0)] and list(validation.points) == []


def test_samples_stand_beside_what_was_expected_and_what_was_said_before(tally: TrainTally) -> None:
    before, after = (("ask <b>", "want", "bad"),), (("ask <b>", "want", "ok"),)
    tell(tally, Validation(0, 2.0, 9, before), Validation(4, 1.0, 9, after))
    said = tally.details()
    assert "ask &lt;b&gt;" in said and "<b>" not in said
    assert re.search("want.*After step 0.*bad.*Now, after step 4.*ok", words(said))


def test_a_loss_that_is_no_number_is_shown_and_not_drawn(tally: TrainTally) -> None:
    tell(tally, step(1, 2.0), step(2, float("nan")))
    assert "nan" in tally.body() and [point[0] for point in tally.lines()[0].points] == [1.0]


@pytest.mark.parametrize("line", [
    {"type": "step"}, {"type": "step", "step": "x"}, {"type": "validation", "samples": 3}, {"type": "no"}, {},
])  # fmt: skip
def test_a_damaged_line_of_the_log_takes_nothing_down(tally: TrainTally, line: dict[str, Any]) -> None:
    tally.add(line)
    assert isinstance(tally.body() + tally.details(), str)


def test_the_hint_comes_when_two_validations_in_a_row_lie_above_the_best() -> None:
    losses = [2.0, 1.0, 1.1, 1.2]
    found = [Validation(n, loss, 9) for n, loss in enumerate(losses)]
    assert rising(found[:3]) is None
    assert "rising" in (rising(found) or "")


def test_a_discarded_run_has_no_result_any_more(tally: TrainTally) -> None:
    tell(tally, Written("adapter", 3, True, "mine"))
    assert tally.written is not None
    tell(tally, Discarded())
    assert tally.written is None


def test_a_finished_run_has_its_curve_and_its_gain_in_the_list(tally: TrainTally) -> None:
    tell(tally, Validation(0, 2.0, 9), step(1), step(2), Saved(2, True), Validation(2, 1.0, 9))
    assert "<svg" in tally.aside() and "validation loss 2 → 1" in words(tally.aside())


def test_the_card_counts_steps_and_says_nothing_of_a_total_that_is_not_known() -> None:
    run = Run("mwrhwwyde6dk", "running", "train", "tiny", None, "lora", ("a.jsonl",), "2026-11-22T10:14:00", 0, 1)
    assert "step 0" not in views.card(run, None, "", manner=STEPS)
    later = Run("mwrhwwyde6dk", "running", "train", "tiny", None, "lora", ("a.jsonl",), "2026-11-22T10:14:00", 3, 40)
    assert "step 3 of 40" in views.card(later, 2.0, "", manner=STEPS)


def test_points_beyond_what_can_be_drawn_are_averaged_and_keep_their_mean() -> None:
    points = Points()
    for n in range(10_000):
        points.add(float(n), float(n % 2))
    drawn = points.all()
    assert len(drawn) <= 2 * MAX_POINTS + 1
    assert sum(value for _, value in drawn) / len(drawn) == pytest.approx(0.5, abs=0.01)


def test_a_plot_names_its_lines_where_they_end_and_speaks_to_who_cannot_see_it() -> None:
    drawn = curves(PLAIN, [Line(("training", "训练"), 0, [(1, 2.0), (2, 1.0)]),
                           Line(("validation", "验证"), 1, [(2, 1.02)], has_marks=True)], 4)  # fmt: skip
    assert drawn is not None
    tops = [float(top) for top in re.findall(r'class="end run-\d" style="top:([\d.]+)%', drawn)]
    assert len(tops) == 2 and abs(tops[0] - tops[1]) > 8, "names that would meet are moved apart"
    assert 'class="spoken"' in drawn and "训练" in drawn and "NaN" not in drawn


@pytest.mark.parametrize("points", [[(0, 0.0)], [(1, 5.0), (2, 5.0)], [(1, -3.0), (2, 4.0)], [(1, 1e-9), (9, 2e9)]])
def test_any_values_can_be_drawn(points: list[tuple[float, float]]) -> None:
    drawn = curves(PLAIN, [Line(("a", "甲"), 0, points)], 0)
    assert drawn is not None and "nan" not in drawn.lower()


def test_no_two_ticks_of_an_axis_are_written_alike() -> None:
    drawn = str(curves(PLAIN, [Line(PLAIN, 0, [(0, 0.6927), (1, 0.6943)])], 6))
    ticks = re.findall(r'class="y"[^>]*>([^<]*)<', drawn)
    assert len(ticks) > 3 and len(set(ticks)) == len(ticks)


def test_nothing_is_drawn_of_nothing() -> None:
    assert curves(PLAIN, [Line(PLAIN, 0, [])], 3) is None and spark([Line(PLAIN, 0, [(1, 1.0)])]) is None


def a_plan(**changed: Any) -> TrainPlan:
    origins = (Origin("a.jsonl", 1), Origin("a.jsonl", 7), Origin("<b>", 9))
    fields: dict[str, Any] = {
        "n_train": 90, "n_validation": 10, "max_length": 512, "n_steps": 30, "n_tokens": 12_000,
        "n_trained_tokens": 3_000, "n_learned": 4_900_000,
        "forecast": Forecast("trial", (60.0, 90.0), (10**9, 2 * 10**9), 16 * 10**9, 250.0),
        "settings": (Changed("rank", ("Rank", "秩"), 4, 16),),
        "shown": (Shown(origins[0], (("ask ", False), ("<answer>", True)), 12, 3, 2),),
        "audit": Audit(3, ((1, 0),), (2,), (0,), (Leak(1, origins[1], "quiz", 5, 8, "one two <i>"),), {"quiz": (9, 0)}),
        "origins": origins, "n_untrained": 1, "bad_rows": (BadRow(Origin("a.jsonl", 4), "no answer", "没有回答"),),
        "notes": (Note("read as gb18030", "按 gb18030 读取"),),
    } | changed  # fmt: skip
    return TrainPlan(**fields)


def test_the_plan_shows_steps_tokens_time_memory_and_what_is_not_the_default() -> None:
    said = words(plan_view.facts(a_plan()))
    for figure in ("30", "90", "10 held back", "12,000", "25% of them learned", "1:00–1:30", "250 tokens/s",
                   "1.0–2.0 GB", "16 GB free", "4.9 M", "Rank 4 default 16"):  # fmt: skip
        assert figure in said, figure


def test_the_plan_of_preferences_counts_pairs_and_the_tokens_of_both_answers() -> None:
    said = words(plan_view.facts(a_plan(has_pairs=True)))
    assert "Pairs of answers" in said and "25% of them in the answers compared" in said and "learned" not in said


def test_the_plan_counts_what_is_wrong_and_opens_the_offending_rows() -> None:
    said = plan_view.facts(a_plan())
    assert "1 examples are longer than 512 tokens" in words(said)
    assert re.search(r"repeat another one.*a\.jsonl, line 7 = .*a\.jsonl, line 1", words(said))
    assert re.search(r"share a long passage.*8 words in a row of quiz, sample 5.*one two", words(said))
    assert "line 4 : no answer" in words(said).replace("line 4: ", "line 4 : ") and "没有回答" in said
    assert "<i>" not in said and "&lt;b&gt;" in said, "what stands in a data set is text"


def test_what_the_model_learns_is_marked_and_nothing_of_it_is_markup() -> None:
    said = plan_view.examples(a_plan())
    assert '<mark class="trained">&lt;answer&gt;</mark>' in said and "12 tokens, 3 learned" in words(said)
    assert "(2 cut off)" in words(said)


def test_before_it_is_measured_no_time_is_promised() -> None:
    unmeasured = a_plan(forecast=Forecast("formula", None, (10**9, 10**9), 16 * 10**9))
    assert "measuring in a short trial" in plan_view.facts(unmeasured, is_measuring=True)
    assert "not measured" in plan_view.facts(unmeasured)


def test_a_run_that_does_not_fit_is_said_to() -> None:
    assert "will not fit" in plan_view.facts(a_plan(forecast=Forecast("run", None, (9 * 10**9, 10**10), 10**9)))


def test_the_command_names_all_that_is_not_a_default() -> None:
    data = [DatasetSpec("/d/a b.jsonl", Mapping("prompt_completion", prompt="q", response="a", is_chat=False), 2.0)]
    config = TrainConfig(rank=4, learning_rate=1e-3, use_dora=True, packs=False, targets=("q_proj", "v_proj"))
    line = shown_command(data, Asked("embedded", "my name", config), Settings(home=Path("/h")))
    assert shlex.split(line) == [
        "python", "-m", "llm_app", "train", "--model", "embedded", "--data", "/d/a b.jsonl", "--weights", "2",
        "--layout", "prompt_completion", "--columns", "prompt=q", "response=a", "--raw", "--name", "my name",
        "--learning-rate", "0.001", "--rank", "4", "--targets", "q_proj", "v_proj", "--use-dora", "--no-packs",
    ]  # fmt: skip


def test_a_public_page_tells_no_folders_in_the_command() -> None:
    settings = Settings(home=Path("/h"), is_public=True)
    asked = Asked("/m/tiny", None, TrainConfig())
    line = shown_command([DatasetSpec("/h/visitor-data-sets/x/a.jsonl")], asked, settings)
    assert "/" not in line.replace("a.jsonl", "")


def test_the_command_of_a_search_names_its_space() -> None:
    search = SearchConfig(space=("rank=8,16",), trials=4)
    line = shown_command([], Asked("embedded", None, TrainConfig()), Settings(home=Path("/h")), search)
    assert shlex.split(line)[3:] == ["search", "--model", "embedded", "--space", "rank=8,16", "--trials", "4"]


def test_the_leaderboard_stands_best_first_with_reasons_and_a_way_to_each_run() -> None:
    trials = [
        Trial(0, {"rank": 8}, run="aaaaaaaaaaaa", points=((4, 2.0),), n_steps=4, seconds=9.0, state="done"),
        Trial(1, {"rank": 16}, run="bbbbbbbbbbbb", points=((4, 1.0),), n_steps=4, seconds=9.0, state="done"),
        Trial(2, {"rank": 32}, state="failed", reason="<b>no</b>"),
    ]  # fmt: skip
    board = leaderboard(trials, TrainConfig)
    assert board.index("bbbbbbbbbbbb") < board.index("aaaaaaaaaaaa") and "&lt;b&gt;no" in board
    assert "Rank" in board and "<b>1</b>" in board and leaderboard([], TrainConfig) == ""


def test_settings_that_differ_stand_side_by_side() -> None:
    table = difference_table(TrainConfig, {"rank": (8, 16), "use_dora": (False, True)}, ("A", "<b>"))
    assert "Rank" in table and "&lt;b&gt;" in table and "✗" in table and "✓" in table
    assert "same settings" in difference_table(TrainConfig, {}, ("A", "B"))


@pytest.mark.parametrize(("value", "shown"), [
    (None, "–"), ((), "–"), (True, "✓"), (("a", "b"), "a b"), (2e-4, "0.0002"), (3, "3"),
])  # fmt: skip
def test_a_value_is_written_as_a_person_types_it(value: object, shown: str) -> None:
    assert value_text(value) == shown


def test_begun_tells_how_many_steps_there_will_be(tally: TrainTally) -> None:
    begun = Begun({}, "cpu", "float32", 9, 1, {}, 40)
    tell(tally, begun, Validation(0, 2.0, 9))
    assert ">40<" in tally.body()
