"""The HTML report: one file, no script, no request to anywhere; light and dark, English and Chinese."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from eval.report.markdown import aligned, named
from eval.report.markup import Child, Markup, element, joined
from eval.report.numbers import interval_text, score_text
from eval.report.plots import Bar, Group, bars, colour_class, radar
from eval.report.rows import Row, first_rows
from eval.report.run import Reported
from eval.report.samples import N_SAMPLES, browser
from eval.report.text import STRINGS, Language, text, text_of

STYLE = Path(__file__).with_name("report.css")
# Even if a text of a model slipped through as HTML, nothing would run and nothing would be fetched.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
MAX_UNSCORED = 50  # listed for each task and run


@dataclass(frozen=True)
class Section:
    """A part that was made elsewhere, such as a comparison of two runs."""

    title: str
    body: Markup


def html_page(
    reported: Sequence[Reported], rows: Sequence[Sequence[Row]], *, language: Language = "en",
    sections: Sequence[Section] = (), n_samples: int = N_SAMPLES,
) -> str:
    """The whole page. `rows`: those of each run. `sections` stand first: of two runs, one asks whether it helped."""
    keys = {row.task: f"{row.metric},{row.filter}" for run in reversed(rows) for row in first_rows(run)}
    n_shown = text("samples_about", language, n=n_samples)
    parts: list[Child] = [
        _head(reported, language),
        *(_section(section.title, section.body) for section in sections),
        _section(text("results", language), _results(reported, rows, language)),
        _plots(reported, rows, language),
        _section(
            text("samples", language), element("p", n_shown, class_="about"),
            browser(reported, keys, language, n_samples=n_samples),
        ),
        _unscored(reported, language),
        _section(text("who", language), _who(reported, language)),
        _section(text("repeat", language), _repeat(reported, language)),
        element("footer", text("made_by", language)),
    ]
    title = f"{text('title', language)}: {', '.join(run.label for run in reported)}"
    head = element(
        "head", element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("link", rel="icon", href="data:,"),
        element("title", title), Markup(f"<style>\n{STYLE.read_text(encoding='utf-8')}</style>"),
    )
    body = element("body", element("main", *parts))
    lang = "zh-CN" if language == "zh" else "en"
    return "<!doctype html>\n" + element("html", head, body, lang=lang) + "\n"


def _head(reported: Sequence[Reported], language: Language) -> Markup:
    has_several = len(reported) > 1
    runs = [
        element("li", element("span", "■ ", class_=colour_class(n)) if has_several else None, element("b", run.label),
                " ", element("span", f"{run.run.id} · {run.created[:16].replace('T', ' ')}", class_="quiet"))
        for n, run in enumerate(reported)
    ]
    return element(
        "header", element("p", "Proofbench", class_="brand"), element("h1", text("title", language)),
        element("p", text("intro", language), class_="about"), element("ul", *runs, class_="runs"),
    )


def _section(title: str, *children: Child) -> Markup:
    return element("section", element("h2", title), *children)


def _results(reported: Sequence[Reported], rows: Sequence[Sequence[Row]], language: Language) -> Markup:
    everything = [row for run in rows for row in run]
    if not everything:
        return element("p", text("nothing", language), class_="about")
    table = _table(rows[0], language) if len(reported) == 1 else _side_by_side(reported, rows, language)
    methods = dict.fromkeys(row.interval for row in everything if row.interval)
    used = {m: dict.fromkeys(row.metric for row in everything if row.interval == m) for m in methods}
    form, comma, stop = ("{}（{}）", "；", "。") if language == "zh" else ("{} ({})", "; ", ".")
    by_method = [form.format(text_of(method, language), ", ".join(metrics)) for method, metrics in used.items()]
    lines = [text("arrows", language)]
    lines += [f"{text('methods', language)} {comma.join(by_method)}{stop}"] if by_method else []
    lines += [text("no_interval", language)] if any(not row.interval for row in everything) else []
    return joined(table, element("p", " ".join(lines), class_="quiet"))


def _table(rows: Sequence[Row], language: Language) -> Markup:
    """One run. On a phone every row becomes a small block; `data-label` then names the numbers."""
    keys = ("task", "metric", "value", "interval", "stderr", "n", "shots", "version", "notes")
    numeric = {"value", "interval", "stderr", "n", "shots"}
    heads = [element("th", text(key, language), class_="num" if key in numeric else None) for key in keys]
    lines, last = [], ""
    for row in rows:
        cells: dict[str, Child] = {
            "task": row.task, "metric": f"{row.title} {row.direction}".rstrip(),
            "value": score_text(row.value, row.unit), "interval": interval_text(row),
            "stderr": "" if row.stderr is None else score_text(row.stderr, row.unit), "n": f"{row.n:,}",
            "shots": "" if row.n_shots is None else row.n_shots, "version": row.version, "notes": _notes(row, language),
        }
        lines.append(element(
            "tr",
            *(element("td", cell, class_=key + (" num" if key in numeric else ""), data_label=text(key, language))
              for key, cell in cells.items()),
            class_="first" if row.task != last else None,
        ))
        last = row.task
    return element("table", element("thead", element("tr", *heads)), element("tbody", *lines), class_="results")


def _side_by_side(reported: Sequence[Reported], rows: Sequence[Sequence[Row]], language: Language) -> Markup:
    head = element(
        "tr", element("th", text("task", language)), element("th", text("metric", language)),
        *(element("th", element("span", "■ ", class_=colour_class(n)), run.label, class_="num")
          for n, run in enumerate(reported)),
    )
    lines, last = [], ""
    for (task, _, _), found in aligned(rows).items():
        one = named(found)
        lines.append(element(
            "tr", element("td", task, class_="task"),
            element("td", f"{one.title} {one.direction}".rstrip(), class_="metric"),
            *(element("td", _cell(row, language), class_="num run", data_label=run.label)
              for run, row in zip(reported, found, strict=True)),
            class_="first" if task != last else None,
        ))
        last = task
    return element("table", element("thead", head), element("tbody", *lines), class_="results several")


def _cell(row: Row | None, language: Language) -> Child:
    if row is None:
        return "–"
    below = f"{interval_text(row)} n {row.n:,}".strip()
    notes = _notes(row, language)
    return joined(
        element("b", score_text(row.value, row.unit)), element("span", below, class_="below"),
        element("span", notes, class_="below") if notes else None,
    )


def _notes(row: Row, language: Language) -> str:
    found = []
    if row.is_partial:
        found.append(text("partial", language, done=row.n_answered, total=row.n_asked))
    if row.n_unscored:
        found.append(text("unscored", language, n=row.n_unscored))
    if row.n_cut:
        found.append(text("prompts_cut", language, n=row.n_cut, total=row.n_answered))
    if row.has_few_passages:
        found.append(text("few_passages", language, n=row.n_passages))
    if row.is_like_guessing:
        found.append(text("like_guessing", language, chance=f"{row.chance:.3g}"))
    return ("；" if language == "zh" else "; ").join(found)


def _plots(reported: Sequence[Reported], rows: Sequence[Sequence[Row]], language: Language) -> Markup:
    groups = [
        [Bar(run.label, n, row) for n, (run, row) in enumerate(zip(reported, found, strict=True)) if row is not None]
        for found in aligned(rows).values()
    ]
    groups = [scored for group in groups if (scored := [bar for bar in group if bar.row.value is not None])]
    shares = [group for group in groups if group[0].row.unit == "percent"]
    others = [group for group in groups if group[0].row.unit != "percent"]
    has_chance = any(bar.row.chance is not None for group in groups for bar in group)
    about = text("bars_and_chance" if has_chance else "bars_about", language)
    left, right = (
        element(
            "figure", element("figcaption", text(key, language)),
            bars(found, text("chance", language), has_labels=len(reported) > 1),
        ) if found else None
        for key, found in (("shares", shares), ("others", others))
    )
    # A run without this score would be drawn as 0.
    drawn = radar(_axes([group for group in groups if len(group) == len(reported)]))
    overview = None
    if drawn is not None:
        caption, words = element("figcaption", text("radar", language)), text("radar_about", language)
        overview = element("figure", caption, drawn, element("p", words, class_="quiet"))
    if not groups:
        return Markup("")
    plots = element("div", left, element("div", right, overview), class_="plots")
    return _section(text("plots", language), element("p", about, class_="about"), plots)


def _axes(groups: Sequence[Group]) -> list[Group]:
    """The first score from 0 to 1 of each task, or of each group where the tasks are too many."""
    first = {group[0].row.task: group for group in reversed(groups) if group[0].row.is_share}
    found = list(first.values())[::-1]
    return [group for group in found if group[0].row.is_group] if any(g[0].row.is_group for g in found) else found


def _unscored(reported: Sequence[Reported], language: Language) -> Markup:
    lines = []
    for run in reported:
        for name, task in run.run.tasks.items():
            wrong = [sample for _, sample in sorted(task.samples.items()) if sample.error is not None]
            where = name if len(reported) == 1 else f"{name} · {run.label}"
            cells: list[tuple[Child, ...]] = [(where, sample.sample, sample.error) for sample in wrong[:MAX_UNSCORED]]
            if len(wrong) > MAX_UNSCORED:
                more = text("and_more", language, n=len(wrong) - MAX_UNSCORED)
                cells.append((where, None, more))
            lines += [element("tr", *(element("td", cell) for cell in row)) for row in cells]
    if not lines:
        return Markup("")
    head = element("tr", *(element("th", text(key, language)) for key in ("task", "sample", "reason")))
    table = element("div", element("table", element("thead", head), element("tbody", *lines)), class_="wide")
    about = element("p", text("unscored_about", language), class_="about")
    return _section(text("unscored_title", language), about, table)


def _who(reported: Sequence[Reported], language: Language) -> Markup:
    """A table of what each run is, a column a run."""
    facts = [
        {"run": run.run.id, "created": run.created[:19].replace("T", " "), **run.model, **run.settings, **run.versions}
        for run in reported
    ]
    several = len(reported) > 1
    head = element("thead", element("tr", element("th"), *(element("th", run.label) for run in reported)))
    lines = [
        element("tr", element("th", text_of(key, language), scope="row"), *(
            element("td", fact.get(key) or _empty(key, language), data_label=run.label if several else None)
            for run, fact in zip(reported, facts, strict=True)
        ))
        for key in dict.fromkeys(key for fact in facts for key in fact)
    ]
    return element("table", head if several else None, element("tbody", *lines), class_="facts")


def _empty(key: str, language: Language) -> str:
    return text(f"{key}_empty" if f"{key}_empty" in STRINGS else "none", language)


def _repeat(reported: Sequence[Reported], language: Language) -> Markup:
    parts: list[Child] = [element("p", text("repeat_about", language), class_="about")]
    for run in reported:
        parts.append(element("p", run.label, class_="quiet") if len(reported) > 1 else None)
        parts.append(element("pre", run.command) if run.command else element("p", text("no_command", language)))
    return joined(*parts)
