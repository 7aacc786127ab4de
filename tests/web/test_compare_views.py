"""What a comparison shows."""

from dataclasses import replace

from llm_app.messages import Message
from llm_app.votes import Contestant, new_vote, standings
from llm_app.web.chat import compare_views as views
from llm_app.web.chat.compare_views import Round

GREEDY = Contestant("m", "bf16", "", '{"max_new_tokens": 8, "temperature": 0}', "d1")
WARM = replace(GREEDY, decoding='{"max_new_tokens": 8, "temperature": 0.7, "top_p": 0.9}')
TUNED = replace(GREEDY, adapter="mine", identity="d2")
ROUND = Round(
    "r1", (Message("system", "s"), Message("user", "<b>hi</b> ${x}")), (("Greedy", "贪心"), ("Nucleus", "核采样")),
    (GREEDY, WARM), is_blind=True, seed=1, answers=("one", "<img src=x>"), notes=(("9 tok/s", "9 词元/秒"),) * 2,
)  # fmt: skip


def test_a_blind_round_names_nobody_before_the_vote() -> None:
    over = replace(ROUND, is_over=True)
    shown = "".join([views.head(0, over), views.head(1, over), str(views.answer(over, 0)), views.asked(over)])
    assert "Greedy" not in shown and "greedy" not in shown and "tok/s" not in shown


def test_after_the_vote_both_are_named_with_their_speed() -> None:
    voted = replace(ROUND, is_over=True, choice="b")
    assert "Greedy" in views.head(0, voted) and "贪心" in views.head(0, voted)
    assert "better" in views.head(1, voted) and "better" not in views.head(0, voted)
    assert "tok/s" in str(views.answer(voted, 0))


def test_a_round_that_is_not_blind_names_both_at_once() -> None:
    named = replace(ROUND, is_blind=False)
    assert "Nucleus" in views.head(1, named) and "temperature 0.7 · top-p 0.9" in views.head(1, named)


def test_a_vote_is_open_once_both_have_ended_and_only_once() -> None:
    over = replace(ROUND, is_over=True)
    assert not ROUND.is_open and over.is_open
    assert not replace(over, choice="tie").is_open
    assert not replace(over, has_failed=True).is_open


def test_D2_prompts_names_and_answers_stay_text() -> None:
    assert "<b>hi" not in views.asked(ROUND) and "${" not in views.asked(ROUND)
    assert "&lt;img" in str(views.answer(ROUND, 1))
    evil = replace(GREEDY, adapter="<script>", model="{evil}", decoding="<i>")
    vote = new_vote("r", ROUND.prompt, (evil, WARM), ("a", "b"), "a", is_blind=True, seed=1)
    table = views.votes_table(standings([vote]))
    assert "<script>" not in table and "{evil}" not in table and "<i>" not in table


def test_only_what_tells_two_apart_is_named_and_the_rest_once() -> None:
    first, second, common = views.contestant_names(GREEDY, WARM)
    assert (first[0], second[0]) == ("greedy", "temperature 0.7 · top-p 0.9")
    assert common[0] == "m · bf16 · base"
    assert views.contestant_names(GREEDY, replace(GREEDY, identity="d2" * 8))[1][0] == "d2d2d2d2"


def test_the_table_says_what_was_counted_and_what_the_interval_allows() -> None:
    def votes(n_a: int, n_b: int) -> str:
        made = [
            new_vote(f"{choice}{i}", ROUND.prompt, (TUNED, GREEDY), ("x", "y"), choice, is_blind=True, seed=1)
            for choice, n in (("a", n_a), ("b", n_b), ("tie", 2)) for i in range(n)  # type: ignore[attr-defined]
        ]  # fmt: skip
        return views.votes_table(standings(made))

    clear = votes(20, 2)
    assert "● " in clear and "91%" in clear and clear.count("<td>2</td>") == 2
    assert "▲ " in votes(2, 20)
    assert "○ " in votes(5, 4)
    assert "–" in votes(0, 0)


def test_no_votes_say_what_to_do_and_damaged_ones_are_counted() -> None:
    shown = views.votes_table([], n_damaged=3, is_public=True)
    assert "Ask both sides" in shown and "3 damaged" in shown and "this browser only" in shown
