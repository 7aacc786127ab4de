"""What the token view shows: any bytes, both measures, nothing that could become markup."""

import json
import math
import re
from html import unescape

import pytest

from llm_app.engine.token_scores import TokenScore
from llm_app.messages import TokenLogprob
from llm_app.web.chat import tokens_views as views
from llm_app.web.chat.tokens_views import Scored


def score(data: bytes, p: float = 0.5, bits: float = 1.0, top: tuple[tuple[int, bytes, float], ...] = ()) -> TokenScore:
    others = tuple(TokenLogprob(i, words, math.log(q)) for i, words, q in top)
    return TokenScore(1, data, math.log(p), bits * math.log(2), 1, others)


def scored(*scores: TokenScore, **more: object) -> Scored:
    return Scored(scores, (0,), "m", "id", 403, **more)  # type: ignore[arg-type]


def card_rows(html: str) -> list[list[object]]:
    found = re.search(r'data-tokens="([^"]*)"', html)
    assert found
    rows: list[list[object]] = json.loads(unescape(found[1]))
    return rows


def test_a_character_of_several_tokens_stands_at_the_one_that_completes_it() -> None:
    you, smile = "你".encode(), "😀".encode()
    assert views.readable([b"a", you[:1], you[1:2], you[2:]]) == ["a", "⟨E4⟩", "⟨BD⟩", "你"]
    assert views.readable([b" " + smile[:3], smile[3:] + b"!"]) == [" ⟨F0⟩⟨9F⟩⟨98⟩", "😀!"]


def test_bytes_that_are_no_text_are_shown_and_end_nothing() -> None:
    assert views.readable([b"\xff", b"ok", b""]) == ["\ufffd", "ok", ""]
    assert views.readable(["你".encode()[:2], b"x"]) == ["⟨E4⟩⟨BD⟩", "\ufffdx"]


def test_an_alternative_reads_as_it_would_in_that_place() -> None:
    you = "你".encode()
    assert views.alternative_text([you[:2]], TokenLogprob(1, you[2:], -1.0)) == "你"
    assert views.alternative_text([], TokenLogprob(1, you[:2], -1.0)) == "⟨E4⟩⟨BD⟩"


@pytest.mark.parametrize(("p", "step"), [(1.0, 0), (0.5, 0), (0.49, 1), (0.2, 1), (0.1, 2), (0.02, 3), (0.001, 4)])
def test_the_mark_is_stronger_the_less_likely_the_token_was(p: float, step: int) -> None:
    assert views.probability_step(math.log(p)) == step


@pytest.mark.parametrize(("bits", "step"), [(0.0, 0), (0.4, 0), (0.6, 1), (2.0, 2), (4.0, 3), (9.0, 4)])
def test_entropy_is_marked_in_bits(bits: float, step: int) -> None:
    assert views.entropy_step(bits * math.log(2)) == step


def test_the_summary_gives_perplexity_and_mean_entropy_in_bits() -> None:
    english, chinese = views.summary(scored(score(b"a", 0.5, 1.0), score(b"b", 0.125, 3.0)))
    assert "perplexity 4 " in english and "mean entropy 2.00 bits" in english and "2 tokens" in english
    assert "困惑度 4" in chinese and "2.00 比特" in chinese


def test_the_card_holds_the_numbers_of_each_token() -> None:
    top = ((1, b" Paris", 0.769), (9, b"\n", 0.00001), (5, b"<|im_end|>", 0.2))
    shown = views.view(scored(score(b" Paris", 0.769, 2.46, top), ends=frozenset({5}), turn="t"), "probability")
    word, share, logprob, entropy, rank, others = card_rows(shown)[0]
    assert (word, share, logprob, entropy, rank) == ("␣Paris", "76.9 %", "\u22120.263 nat", "2.46 bit", "1 / 403")
    assert others == [
        ["␣Paris", "76.9 %", 0.769, 1, 0], ["↵", "0.001 %", 0.0, 0, 0], ["<|im_end|>", "20.0 %", 0.2, 0, 1],
    ]  # fmt: skip


def test_D2_tokens_of_any_kind_stay_text() -> None:
    evil = b'"><img src=x onerror=alert(1)>${x}{{y}}'
    shown = views.view(scored(score(evil, top=((2, evil, 0.5),))), "probability")
    assert "<img" not in shown and "${" not in shown and "{{" not in shown
    assert evil.decode() in str(card_rows(shown)[0][0]).replace("␣", " ")


def test_both_measures_have_a_legend_and_the_marks_to_go_with_it() -> None:
    one = scored(score(b"a", 0.001, 9.0))
    assert 'class="tok p4 e4"' in views.view(one, "entropy")
    assert "by-entropy" in views.view(one, "entropy") and "≥ 5" in views.legend("entropy")
    assert "20–50 %" in views.legend("probability")


def test_what_was_not_scored_is_said() -> None:
    shown = views.view(scored(score(b"a"), n_left=1234), "probability")
    assert "1,234 more were not scored" in shown


def test_nothing_scored_yet_names_the_next_step() -> None:
    assert "type a text of your own" in views.view(None, "probability")
