"""What the token view shows: pure functions from scores to HTML.

A token may be anything, half a character included; its text is escaped wherever it stands.
"""

import codecs
import json
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from llm_app.engine.token_scores import TokenScore
from llm_app.messages import TokenLogprob
from llm_app.options import Text
from llm_app.web.text import both, filled, inert, pair
from llm_app.web.views import joined, notice

NATS_IN_A_BIT = math.log(2)
MAX_TOKENS = 512  # of a text that are scored and shown
# From likely to surprising, from settled to open; each step is a stronger mark.
PROBABILITIES = (0.5, 0.2, 0.05, 0.01)
ENTROPIES_BITS = (0.5, 1.5, 3.0, 5.0)
BYTE = re.compile("⟨[0-9A-F]{2}⟩")  # of a character that the next tokens complete
SIGNS = {" ": "␣", "\n": "↵", "\t": "⇥", "\r": "␍"}


@dataclass(frozen=True)
class Scored:
    """A scored text as the page keeps it. `context_ids` stand before the tokens; `turn` is the reply's, "" for a text.

    `start` is the token before a text; `ends` are tokens that end a reply, and nothing goes on from them.
    """

    scores: tuple[TokenScore, ...]
    context_ids: tuple[int, ...]
    model: str
    identity: str
    n_vocabulary: int
    text: str = ""
    n_left: int = 0
    turn: str = ""
    start: str = ""
    ends: frozenset[int] = frozenset()


def view(scored: Scored | None, by: str) -> str:
    """The whole picture: what it is, its legend, its tokens, and the card that a token opens."""
    if scored is None:
        return f'<p class="empty">{both("tokens_none")}</p>'
    read = readable(score.data for score in scored.scores)
    tokens = "".join(_token(i, score, shown) for i, (score, shown) in enumerate(zip(scored.scores, read, strict=True)))
    data = inert(json.dumps(_card_data(scored, read), ensure_ascii=False, separators=(",", ":")))
    name = "text" if not scored.turn else "reply"
    return (
        f'<section class="tokens by-{by}" data-kind="{name}" data-tokens="{data}">'
        f'<p class="about"><b>{both(f"tokens_of_{name}")}</b> {pair(summary(scored))}</p>{legend(by)}'
        f'<div class="stage"><div class="line" role="group">{tokens}</div>{_card()}</div>'
        f"{_notes(scored, read)}</section>"
    )


def readable(parts: Iterable[bytes]) -> list[str]:
    """How each token reads in its place: a character stands at the token that completes it, ⟨E4⟩ at those before."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    shown = []
    for data in parts:
        words = decoder.decode(data)
        pending = decoder.getstate()[0]
        own = pending[-len(data) :] if data else b""
        shown.append(words + "".join(f"⟨{byte:02X}⟩" for byte in own))
    return shown


def alternative_text(before: Iterable[bytes], token: TokenLogprob) -> str:
    """How an alternative would read after these tokens."""
    return readable([*before, token.data])[-1]


def visible(words: str) -> str:
    """The words with their blanks as signs; nothing at all as ∅."""
    return "".join(SIGNS.get(sign, sign) for sign in words) or "∅"


def summary(scored: Scored) -> Text:
    """Length, perplexity and mean entropy, and which model says so."""
    n = len(scored.scores)
    loss = -math.fsum(score.logprob for score in scored.scores) / n
    entropy = math.fsum(score.entropy for score in scored.scores) / n / NATS_IN_A_BIT
    perplexity = math.exp(loss) if loss < 700 else math.inf
    return joined(
        filled("tokens_count", n=n), filled("tokens_perplexity", n=perplexity),
        filled("tokens_mean_entropy", n=entropy), filled("tokens_by", model=scored.model),
    )  # fmt: skip


def legend(by: str) -> str:
    """What the marks mean, drawn with the marks themselves."""
    if by == "entropy":
        edges = [f"{edge:g}" for edge in ENTROPIES_BITS]
        names = [f"< {edges[0]}", *(f"{a}–{b}" for a, b in zip(edges, edges[1:], strict=False)), f"≥ {edges[-1]}"]
    else:
        edges = [f"{100 * edge:g}" for edge in PROBABILITIES]
        names = [f"≥ {edges[0]} %", *(f"{b}–{a} %" for a, b in zip(edges, edges[1:], strict=False)), f"< {edges[-1]} %"]
    steps = "".join(f'<span class="tok p{i} e{i}">{name}</span>' for i, name in enumerate(names))
    return f'<p class="legend"><span>{both(f"legend_{by}")}</span>{steps}</p>'


def probability_step(logprob: float) -> int:
    """0 for what was to be expected, up to 4 for a surprise."""
    return sum(math.exp(logprob) < edge for edge in PROBABILITIES)


def entropy_step(nats: float) -> int:
    """0 where the choice was settled, up to 4 where it was open."""
    return sum(nats / NATS_IN_A_BIT >= edge for edge in ENTROPIES_BITS)


def share(logprob: float) -> str:
    """A probability with two figures that matter, however small."""
    percent = 100 * math.exp(logprob)
    return f"{percent:.1f} %" if percent >= 0.1 else f"{percent:.1g} %" if percent >= 1e-4 else "< 0.0001 %"


def _token(i: int, score: TokenScore, shown: str) -> str:
    marks = f"tok p{probability_step(score.logprob)} e{entropy_step(score.entropy)}"
    words = BYTE.sub(r'<i class="byte">\g<0></i>', inert(shown))
    words = words.replace("\n", '<i class="sign">↵</i>\n').replace("\t", '<i class="sign">⇥</i>\t')
    if not shown:
        words = '<i class="sign">∅</i>'
    said = f"{inert(visible(shown))} {share(score.logprob)}"
    first = 0 if i == 0 else -1  # arrows lead from one to the next
    return f'<span class="{marks}" role="button" tabindex="{first}" data-i="{i}" aria-label="{said}">{words}</span>'


def _card_data(scored: Scored, read: Sequence[str]) -> list[list[Any]]:
    """For the script, of each token: text, probability, log-probability, entropy, rank, alternatives."""
    rows: list[list[Any]] = []
    parts = [score.data for score in scored.scores]
    for i, (score, shown) in enumerate(zip(scored.scores, read, strict=True)):
        before = parts[max(0, i - 4) : i]  # no character has more than four bytes
        others = [
            [
                visible(alternative_text(before, token)), share(token.logprob), round(math.exp(token.logprob), 4),
                int(token.token_id == score.token_id), int(token.token_id in scored.ends),
            ]
            for token in score.top
        ]  # fmt: skip
        rank = f"{score.rank:,} / {scored.n_vocabulary:,}"
        bits = f"{score.entropy / NATS_IN_A_BIT:.2f} bit"
        nats = f"{score.logprob:.3f} nat".replace("-", "\u2212")
        rows.append([visible(shown), share(score.logprob), nats, bits, rank, others])
    return rows


def _card() -> str:
    names = ("probability", "logprob", "entropy", "rank")
    rows = "".join(f'<dt>{both(f"card_{name}")}</dt><dd data-slot="{name}"></dd>' for name in names)
    return (
        '<div class="card" hidden><p class="word" data-slot="word"></p>'
        f'<dl>{rows}</dl><p class="hint">{both("card_alternatives")}</p><ol data-slot="others"></ol>'
        f'<template><span class="ends">{both("card_end")}</span></template></div>'
    )


def _notes(scored: Scored, read: Sequence[str]) -> str:
    notes = []
    if scored.n_left:
        notes.append(notice(both("tokens_cut", n=len(scored.scores), left=scored.n_left), "warning"))
    if not scored.turn:
        notes.append(notice(both("tokens_from_start", token=scored.start)))
    else:
        notes.append(notice(both("tokens_pieces")))
    if any(BYTE.search(shown) for shown in read):
        notes.append(notice(both("tokens_bytes")))
    return "".join(notes)
