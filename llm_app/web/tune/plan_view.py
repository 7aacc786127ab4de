"""What a training run will do, shown before it starts: pure functions of the plan."""

from collections.abc import Iterator, Sequence

from eval.report.markup import Markup, element, joined
from llm_app.data.types import BadRow, Origin
from llm_app.jobs.train_forecast import Forecast
from llm_app.jobs.train_plan import Shown, TrainPlan
from llm_app.options import Text
from llm_app.web.benchmark.results_markup import MAX_TEXT, block, said, told, written
from llm_app.web.runs.views import duration
from llm_app.web.text import filled
from llm_app.web.tune.settings_view import value_text
from llm_app.web.views import gigabytes

MAX_PAIRS = 100  # of one kind that are listed
Fact = tuple[str, Text, Text]  # name of its sentence, what it is, what stands below


def facts(plan: TrainPlan, *, is_measuring: bool = False) -> str:
    """Steps, examples, tokens, time and memory; then the settings that are not defaults, and what is wrong."""
    cells = [
        element("div", element("dt", said(name)), element("dd", told(value)), element("dd", told(more), class_="more"))
        for name, value, more in _facts(plan, is_measuring=is_measuring)
    ]
    return block(element("dl", *cells, class_="facts plan"), _settings(plan), *_findings(plan))


def examples(plan: TrainPlan) -> str:
    """Some examples exactly as the model sees them; what it learns from is marked."""
    key = element("p", said("plan_marked"), class_="quiet")
    return block(key, *(_example(shown) for shown in plan.shown))


def _facts(plan: TrainPlan, *, is_measuring: bool) -> Iterator[Fact]:
    held = filled("plan_held_back", n=plan.n_validation + plan.n_test)
    yield "plan_steps", _same(f"{plan.n_steps:,}"), filled("plan_cut_off", n=plan.max_length)
    yield "plan_pairs" if plan.has_pairs else "plan_examples", _same(f"{plan.n_train:,}"), held
    share = plan.n_trained_tokens / plan.n_tokens if plan.n_tokens else 0.0
    of_these = "plan_compared_share" if plan.has_pairs else "plan_trained_share"
    yield "plan_tokens", _same(_short(plan.n_tokens)), filled(of_these, share=f"{share:.0%}")
    yield "plan_time", *_time(plan.forecast, is_measuring=is_measuring)
    yield "plan_memory", *_memory(plan.forecast)
    if plan.n_learned is not None:
        yield "plan_learned", _same(_short(plan.n_learned)), filled("plan_learned_more")


def _time(forecast: Forecast, *, is_measuring: bool) -> tuple[Text, Text]:
    if forecast.seconds is None:
        return _same("–"), filled("plan_measuring" if is_measuring else "plan_unmeasured")
    low, high = (duration(max(1.0, seconds)) for seconds in forecast.seconds)
    how = filled("plan_by_trial" if forecast.basis == "trial" else "plan_by_run")
    speed = filled("plan_speed", n=forecast.tokens_per_second) if forecast.tokens_per_second else ("", "")
    between = tuple(f"{one}–{other}" if one != other else one for one, other in zip(low, high, strict=True))
    return (between[0], between[1]), (f"{how[0]} {speed[0]}".rstrip(), f"{how[1]}{speed[1]}")


def _memory(forecast: Forecast) -> tuple[Text, Text]:
    free = filled("plan_free", free=gigabytes(forecast.free_bytes))
    if forecast.memory_bytes is None:
        return _same("–"), free
    low, high = (gigabytes(n_bytes) for n_bytes in forecast.memory_bytes)
    return _same(f"{low}–{high} GB" if low != high else f"{low} GB"), free


def _settings(plan: TrainPlan) -> Markup | None:
    if not plan.settings:
        return None
    shown = [
        element("li", told(one.label), " ", element("b", written(value_text(one.value))), element(
            "small", " ", said("plan_default", value=value_text(one.default))
        ))
        for one in plan.settings
    ]  # fmt: skip
    return element("div", element("h4", said("tune_non_defaults")), element("ul", *shown, class_="settings"))


def _findings(plan: TrainPlan) -> Iterator[Markup]:
    """What the person should know of the data; each opens what it is about."""
    low_memory = plan.forecast.memory_bytes
    if low_memory is not None and low_memory[0] > plan.forecast.free_bytes:
        yield _line("plan_too_large", "warning")
    audit = plan.audit
    if plan.n_untrained:
        yield _line("plan_untrained", "warning", n=plan.n_untrained)
    yield from _places(plan, "plan_over_long", audit.over_long, "warning", length=plan.max_length)
    yield from _places(plan, "plan_empty", audit.empty, "warning")
    if audit.duplicates:
        pairs = [joined(_at(plan, one), " = ", _at(plan, other)) for one, other in audit.duplicates[:MAX_PAIRS]]
        yield _opened("plan_duplicates", "info", pairs, len(audit.duplicates))
    if plan.n_alike:
        yield _line("plan_alike", "warning", n=plan.n_alike)
    if audit.leaks:
        yield _opened("plan_leaks", "warning", [_leak(plan, n) for n in range(min(MAX_PAIRS, len(audit.leaks)))],
                      audit.n_leaked())  # fmt: skip
    elif audit.checked:
        words = said("plan_no_leaks", n=len(audit.checked))
        yield element("p", words, class_="notice info", role="status", title=", ".join(audit.checked))
    if plan.bad_rows:
        yield _opened("plan_bad_rows", "warning", [_bad(row) for row in plan.bad_rows[:MAX_PAIRS]], len(plan.bad_rows))
    for note in plan.notes:
        yield element("p", told((note.text, note.text_zh)), class_="notice info", role="status")


def _places(plan: TrainPlan, name: str, found: Sequence[int], kind: str, **values: object) -> Iterator[Markup]:
    if found:
        yield _opened(name, kind, [_at(plan, number) for number in found[:MAX_PAIRS]], len(found), **values)


def _opened(name: str, kind: str, lines: Sequence[Markup], n: int, **values: object) -> Markup:
    summary = element("summary", said(name, n=n, **values))
    more = element("li", said("own_more_lines", n=n - len(lines))) if n > len(lines) else None
    listed = element("ul", *(element("li", line) for line in lines), more, class_="lines", tabindex="0")
    return element("details", summary, listed, class_=f"finding {kind}", data_fold=name)


def _line(name: str, kind: str, **values: object) -> Markup:
    return element("p", said(name, **values), class_=f"notice {kind}", role="status")


def _at(plan: TrainPlan, number: int) -> Markup:
    return _origin(plan.origins[number])


def _origin(origin: Origin) -> Markup:
    return said("plan_at", dataset=origin.dataset, line=origin.line)


def _leak(plan: TrainPlan, number: int) -> Markup:
    leak = plan.audit.leaks[number]
    where = said("plan_leak", benchmark=leak.benchmark, sample=leak.sample, n=leak.n)
    return joined(_origin(leak.origin), " ", where, element("q", written(leak.shared[:300])))


def _bad(row: BadRow) -> Markup:
    return joined(_origin(row.origin), ": ", told((row.reason, row.reason_zh or row.reason)))


def _example(shown: Shown) -> Markup:
    """One example: underlined and coloured where the model learns, so that it is told without colour too."""
    pieces, n_left = list[Markup](), MAX_TEXT
    for words, is_trained in shown.spans:
        if n_left <= 0:
            break
        piece = written(words[:n_left])
        pieces.append(element("mark", piece, class_="trained") if is_trained else element("span", piece))
        n_left -= len(words)
    cut = said("plan_example_cut", n=shown.n_cut) if shown.n_cut else None
    head = element(
        "h5", _origin(shown.origin), " · ", said("plan_example_tokens", n=shown.n_tokens, trained=shown.n_trained), " ",
        cut,
    )  # fmt: skip
    return element("div", head, element("pre", *pieces, tabindex="0"), class_="part rendered")


def _short(n: int) -> str:
    return f"{n / 1e6:.1f} M" if n >= 1e6 else f"{n / 1e3:.0f} k" if n >= 1e5 else f"{n:,}"


def _same(words: str) -> Text:
    return words, words
