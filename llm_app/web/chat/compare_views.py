"""What a comparison shows: pure functions from rounds and votes to HTML.

Prompts, names and settings may come from anybody; all of them are escaped here.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

from gradio.components.chatbot import Message as ShownMessage
from gradio.components.chatbot import TextMessage

from eval.statistics import Interval
from llm_app.config import SamplingConfig
from llm_app.messages import Message
from llm_app.options import Text, options_of
from llm_app.votes import Choice, Contestant, Standing
from llm_app.web.chat.markup import without_markup
from llm_app.web.text import both, filled, inert, pair
from llm_app.web.views import joined, notice, percent

LETTERS = ("a", "b")
LABELS = {field.name: info.label for field, info in options_of(SamplingConfig)}
MAX_VALUE_CHARACTERS = 40  # of a setting in a line


@dataclass(frozen=True)
class Round:
    """One prompt and its two answers, A and B, as the page keeps them.

    `names` are shown at once, or after the vote where it is blind; `notes` are the lines under the answers.
    """

    id: str
    prompt: tuple[Message, ...]
    names: tuple[Text, Text]
    contestants: tuple[Contestant, Contestant]
    is_blind: bool
    seed: int
    answers: tuple[str, str] = ("", "")
    notes: tuple[Text, Text] = (("", ""), ("", ""))
    is_over: bool = False
    has_failed: bool = False
    choice: Choice | None = None

    @property
    def is_open(self) -> bool:
        """Whether a vote can be given."""
        return self.is_over and not self.has_failed and self.choice is None

    @property
    def is_secret(self) -> bool:
        """Whether it must not be seen who answers."""
        return self.is_blind and self.choice is None

    def with_answers(self, answers: Sequence[str], notes: Sequence[Text]) -> "Round":
        """The round, a little further."""
        return replace(self, answers=(answers[0], answers[1]), notes=(notes[0], notes[1]))

    def shown_note(self, number: int) -> Text:
        """The line under an answer. Speed would tell a 4-bit model from another."""
        if self.is_secret and self.is_over and not self.has_failed:
            return filled("compare_speed_later")
        return self.notes[number]


def head(number: int, round_: Round | None) -> str:
    """The heading of a pane: the letter, and who it is once that may be known."""
    letter = f'<b class="letter">{LETTERS[number].upper()}</b>'
    if round_ is None or round_.is_secret:
        return f'<div class="pane-head">{letter}<span class="unknown">{both(f"side_{LETTERS[number]}")}</span></div>'
    mine, other = round_.contestants[number], round_.contestants[1 - number]
    detail, name = decoding_text(mine.decoding), round_.names[number]
    has_detail = mine.decoding != other.decoding and detail[0] != name[0].lower()
    shown = f'<span class="detail">{pair(detail)}</span>' if has_detail else ""
    won = f'<span class="won">● {both("votes_better")}</span>' if round_.choice == LETTERS[number] else ""
    return f'<div class="pane-head">{letter}<span class="name">{pair(name)}</span>{shown}{won}</div>'


def asked(round_: Round | None) -> str:
    """The prompt that both sides got."""
    if round_ is None:
        return ""
    return f'<div class="asked"><b>{both("compare_asked")}</b><span>{inert(round_.prompt[-1].content)}</span></div>'


def answer(round_: Round | None, number: int) -> list[ShownMessage]:
    """One answer for its Chatbot, and the line under it."""
    if round_ is None:
        return []
    note = f'<small class="note">{pair(round_.shown_note(number))}</small>'
    words = TextMessage(text=without_markup(round_.answers[number]))
    return [ShownMessage(role="assistant", content=[words, TextMessage(text=note)])]


def thanks(round_: Round) -> str:
    """What became of the vote."""
    assert round_.choice is not None
    english, chinese = filled(f"vote_{round_.choice}")
    said = filled("vote_thanks", choice=english)[0], filled("vote_thanks", choice=chinese)[1]
    return notice(pair(said))


def decoding_text(decoding: str) -> Text:
    """How the tokens were chosen, in words; the text as it stands if it is not ours."""
    try:
        said = dict(json.loads(decoding))
        return joined(*(_setting(name, value) for name, value in said.items() if name != "max_new_tokens"))
    except (ValueError, TypeError):
        return decoding[:MAX_VALUE_CHARACTERS], decoding[:MAX_VALUE_CHARACTERS]


def votes_table(standings: Sequence[Standing], *, n_damaged: int = 0, is_public: bool = False) -> str:
    """Win rates with their intervals, a row for each pair."""
    notes = [notice(both("votes_here"))] if is_public else []
    if n_damaged:
        notes.append(notice(both("votes_damaged", n=n_damaged), "warning"))
    if not standings:
        return f'<p class="empty">{both("votes_none")}</p>{"".join(notes)}'
    names = ("pair", "against", "rate", "interval", "won", "lost", "tie", "bad", "how")
    heads = "".join(f'<th scope="col" class="{name}">{both(f"votes_{name}")}</th>' for name in names)
    rows = "".join(_row(standing) for standing in standings)
    table = f'<div class="table"><table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>'
    return f'{table}<p class="votes-note">{both("votes_note")}</p>{"".join(notes)}'


def contestant_names(first: Contestant, second: Contestant) -> tuple[Text, Text, Text]:
    """What tells two contestants apart, for each, and what they have in common."""
    parts = [(_parts(first)[name], _parts(second)[name]) for name in _parts(first)]
    if all(one == other for one, other in parts) and first.identity != second.identity:
        # The same names, other weights: a model or an adapter that was trained again.
        parts.append(((first.identity[:8],) * 2, (second.identity[:8],) * 2))
    own = [joined(*(each[side] for each in parts if each[0] != each[1])) for side in (0, 1)]
    return own[0], own[1], joined(*(one for one, other in parts if one == other))


def _parts(contestant: Contestant) -> dict[str, Text]:
    adapter = contestant.adapter
    return {
        "model": (contestant.model, contestant.model),
        "precision": (contestant.precision, contestant.precision),
        "adapter": filled("side_adapter", which=adapter) if adapter else filled("side_base"),
        "decoding": decoding_text(contestant.decoding),
    }


def _row(standing: Standing) -> str:
    first, second, common = contestant_names(standing.first, standing.second)
    rate = standing.win_rate
    how = both("votes_blind" if standing.is_blind else "votes_named")
    counts = (standing.n_first, standing.n_second, standing.n_tie, standing.n_both_bad)
    numbers = "".join(f"<td>{n:,}</td>" for n in counts)
    return (
        f'<tr><th scope="row" class="pair">{pair(first)}<small>{pair(common)}</small></th><td class="against">'
        f'{pair(second)}</td><td class="rate">{percent(rate.estimate) if rate else "–"}</td>'
        f'<td class="interval">{_interval(rate) if rate else "–"}</td>{numbers}<td class="how">{how}</td></tr>'
    )


def _interval(rate: Interval) -> str:
    sign, name = "○", "votes_open"
    if rate.low > 0.5:
        sign, name = "●", "votes_better"
    elif rate.high < 0.5:
        sign, name = "▲", "votes_worse"
    middle, width = 100 * rate.low, 100 * (rate.high - rate.low)
    # The line in the middle is one half: an interval that reaches over it decides nothing.
    bar = (
        f'<span class="range" aria-hidden="true"><i style="left:{middle:.1f}%;width:{width:.1f}%"></i>'
        f'<u style="left:{100 * rate.estimate:.1f}%"></u></span>'
    )
    said = f'<span class="verdict">{sign} {both(name)}</span>'
    return f"[{percent(rate.low)}, {percent(rate.high)}]{bar}{said}"


def _setting(name: str, value: object) -> Text:
    if name == "temperature" and value == 0:
        return filled("said_greedy")
    if name == "n_beams":
        return filled("said_beam", n=str(value)[:MAX_VALUE_CHARACTERS])
    if name in ("temperature", "top_p", "min_p", "top_k") and isinstance(value, int | float):
        return filled(f"said_{name}", n=value)
    english, chinese = LABELS.get(name, (name, name))
    short = json.dumps(value, ensure_ascii=False)[:MAX_VALUE_CHARACTERS]
    return f"{english.lower()} {short}", f"{chinese} {short}"
