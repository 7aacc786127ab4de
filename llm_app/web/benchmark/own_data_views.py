"""What the part for a person's own data shows: pure functions, of text that is always escaped."""

import base64
import json
import shlex
from typing import Any

from eval.tasks.own_docs import Dropped
from llm_app.web.benchmark.own_data_shelf import Draft
from llm_app.web.benchmark.own_data_trial import MAX_SHOWN_DROPPED, Trial
from llm_app.web.text import both, inert, pair
from llm_app.web.views import notice

CELL_CHARACTERS = 160
PROMPT_CHARACTERS = 6_000
MAX_SHOWN_COLUMNS = 20
MAX_CANDIDATES = 12


def head(draft: Draft) -> str:
    """The first rows of a data file, with the lines that they stand on."""
    columns = draft.columns[:MAX_SHOWN_COLUMNS]
    facts = both(
        "own_read", data=draft.data, n=draft.n_rows, columns=len(draft.columns), shown=len(draft.head)
    )  # fmt: skip
    names = "".join(f'<th scope="col">{inert(_cell(column))}</th>' for column in columns)
    rows = "".join(
        f'<tr><th scope="row">{row.line}</th>'
        + "".join(f"<td>{inert(_cell(row.cells.get(column)))}</td>" for column in columns) + "</tr>"
        for row in draft.head
    )  # fmt: skip
    return (
        f'{notice(facts)}<div class="wide" tabindex="0"><table class="plain grid"><thead><tr>'
        f'<th scope="col">{both("own_line")}</th>{names}</tr></thead><tbody>{rows}</tbody></table></div>'
    )


def trial(tried: Trial, *, skips: bool) -> str:
    """What the model would be asked first, and which rows cannot be used."""
    counts = _counts(tried, skips=skips)
    return counts + _first(tried) + _folded("own_task_file", tried.text) if tried.n_usable else counts


def command(path: str) -> str:
    """The command line that asks the same."""
    line = f"python -m llm_app benchmark --tasks {shlex.quote(path)}"
    return _folded("own_command", line)


def download_link(name: str, text: str) -> str:
    """A link that saves the task file; it is made of the text alone, so that no copy lies on the server."""
    data = base64.b64encode(text.encode("utf-8")).decode("ascii")
    href = f"data:text/yaml;charset=utf-8;base64,{data}"
    return f'<a class="save" download="{inert(name)}.yaml" href="{href}">{both("own_download")}</a>'


def _counts(tried: Trial, *, skips: bool) -> str:
    if not tried.dropped:
        return notice(both("own_usable", total=tried.n_rows))
    is_empty = tried.n_usable == 0
    name = "own_none_usable" if is_empty else "own_skipped" if skips else "own_dropped"
    said, is_calm = both(name, n=tried.n_dropped, total=tried.n_rows), skips and not is_empty
    lines = "".join(f"<li>{_dropped(row)}</li>" for row in tried.dropped[:MAX_SHOWN_DROPPED])
    n_more = tried.n_dropped - MAX_SHOWN_DROPPED
    more = f"<li>{both('own_more_lines', n=n_more)}</li>" if n_more > 0 else ""
    return (
        f"{notice(said, 'info' if is_calm else 'warning')}<details{'' if is_calm else ' open'}>"
        f"<summary>{both('own_dropped_lines')}</summary><ul class='lines' tabindex='0'>{lines}{more}</ul></details>"
    )


def _dropped(row: Dropped) -> str:
    return f"{both('tune_at_line', n=row.line)} {pair((row.reason, row.reason_zh))}"


def _first(tried: Trial) -> str:
    note = f' <span class="quiet">{both("own_with_template")}</span>' if tried.uses_template else ""
    title = f'<h3 class="fold-title">{both("own_first")}{note}</h3>'
    if not tried.requests:
        return title
    first = tried.requests[0]
    if first.kind == "rolling":
        return f"{title}{_part('own_scored_text', first.text)}"
    candidates = [request.continuation for request in tried.requests] if first.kind == "loglikelihood" else []
    # In quotes: whether a continuation begins with a space decides what it is made of.
    quoted = [json.dumps(candidate, ensure_ascii=False) for candidate in candidates[:MAX_CANDIDATES]]
    listed = "".join(f"<li>{inert(candidate)}</li>" for candidate in quoted)
    compared = f'<p class="caption">{both("own_candidates")}</p><ul class="lines">{listed}</ul>' if candidates else ""
    return f"{title}{_part('own_prompt_part', first.text)}{compared}{_part('own_right', ' | '.join(tried.right))}"


def _part(name: str, words: str) -> str:
    cut = words if len(words) <= PROMPT_CHARACTERS else words[:PROMPT_CHARACTERS] + "…"
    return f'<p class="caption">{both(name)}</p><pre class="prompt" tabindex="0">{inert(cut)}</pre>'


def _folded(name: str, words: str) -> str:
    return f'<details><summary>{both(name)}</summary><pre class="prompt" tabindex="0">{inert(words)}</pre></details>'


def _cell(value: Any) -> str:
    words = value if isinstance(value, str) else "" if value is None else json.dumps(value, ensure_ascii=False)
    return words if len(words) <= CELL_CHARACTERS else words[: CELL_CHARACTERS - 1] + "…"
