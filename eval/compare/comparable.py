"""May two runs be compared at all, and does something about them look wrong?"""

import math
from collections.abc import Hashable, Iterator, Sequence

from eval.compare.run import Answered, Run, TaskRun, Text, in_chinese
from eval.types import Answer

# Fields of data sets that hold a text which several questions may be about.
PASSAGES = ("passage", "context", "paragraph", "article", "story", "document", "premise")
MIN_PASSAGE = 40  # characters; shorter ones are labels or remarks that questions share by chance
SAME_NATS = 1e-6  # below the rounding of float32: such log-likelihoods are equal


def differing_conditions(first: Run, second: Run) -> list[Text]:
    """Why the runs as a whole are not comparable."""
    names = [*first.conditions, *(name for name in second.conditions if name not in first.conditions)]
    return [
        _differs(name, _shown(first.conditions.get(name)), _shown(second.conditions.get(name)))
        for name in names if first.conditions.get(name) != second.conditions.get(name)
    ]


def differing_tasks(first: TaskRun, second: TaskRun) -> list[Text]:
    """Why one task is not comparable; empty if it is."""
    reasons = _differing_settings(first, second)
    both = sorted(first.samples.keys() & second.samples.keys())
    digests = [(i, first.samples[i].digest, second.samples[i].digest) for i in both]
    odd = next((i for i, before, after in digests if before and after and before != after), None)
    if odd is not None:
        reasons.append((f"the data or the prompts differ, first at sample {odd}", f"数据或提示不同，从样本 {odd} 开始"))
    if not both:
        reasons.append(("no sample was answered in both", "没有两边都回答过的样本"))
    return reasons or _differing_definition(first, second)


def differing_plans(first: TaskRun, second: TaskRun) -> list[Text]:
    """Why one task cannot be comparable, whatever is answered; of runs whose samples were not read."""
    return _differing_settings(first, second) or _differing_definition(first, second)


def _differing_settings(first: TaskRun, second: TaskRun) -> list[Text]:
    reasons: list[Text] = []
    if first.version != second.version:
        reasons.append((
            f"the version of the task differs: {first.version} and {second.version}",
            f"任务版本不同：{first.version} 与 {second.version}",
        ))
    if first.n_shots != second.n_shots:
        reasons.append((
            f"the number of examples (shots) differs: {first.n_shots} and {second.n_shots}",
            f"示例数（shots）不同：{first.n_shots} 与 {second.n_shots}",
        ))
    if first.n_asked != second.n_asked:
        reasons.append((
            f"the limit differs: {first.n_asked} and {second.n_asked} samples were to be asked",
            f"样本上限不同：分别为 {first.n_asked} 条与 {second.n_asked} 条",
        ))
    return reasons


def _differing_definition(first: TaskRun, second: TaskRun) -> list[Text]:
    if None in (first.digest, second.digest) or first.digest == second.digest:
        return []
    return [("the definition of the task differs", "任务定义不同")]


def setting_notes(first: Run, second: Run) -> list[Text]:
    """What differs and may matter, though it forbids nothing."""
    differing = [
        _differs(name, first.setting[name], second.setting[name])
        for name in first.setting if name in second.setting and first.setting[name] != second.setting[name]
    ]
    return [(f"{english[0].upper()}{english[1:]}.", f"{chinese}。") for english, chinese in differing]


def cut_notes(first: TaskRun, second: TaskRun) -> list[Text]:
    """Whether prompts of one task lost their beginning, and not the same ones in both runs."""
    both = first.samples.keys() & second.samples.keys()
    before, after = ({i for i in both if task.samples[i].is_cut} for task in (first, second))
    if before == after:
        return []
    name, n = first.name, len(both)
    return [(
        f"{name}: the context cut {len(before):,} of {n:,} prompts in one run and {len(after):,} in the other, so that"
        " not every sample was asked the same.",
        f"{name}：{n:,} 条提示中，两次运行分别有 {len(before):,} 条与 {len(after):,} 条因超出上下文被截去开头，"
        "因此并非每条样本的提示都相同。",
    )]


def alarms(first: Run, second: Run, tasks: Sequence[str]) -> list[Text]:
    """What makes the comparison doubtful: one model twice, or two models that answer alike in everything."""
    parts = [
        name for name in {**first.identity, **second.identity}
        if first.identity.get(name, "") != second.identity.get(name, "")
    ]
    if not parts:
        return [(
            "Both runs are of the same model, with the same precision and adapter: it is compared with itself.",
            "两次运行是同一个模型，精度和适配器也相同：这是在和自己比较。",
        )]
    pairs = [pair for name in tasks for pair in _common(first.tasks[name], second.tasks[name])]
    if not pairs or not all(_is_same(before.answers, after.answers) for before, after in pairs):
        return []
    if parts == ["adapter"]:
        return [(
            f"The adapter changes nothing: all {len(pairs):,} outputs are equal to those without it. It was probably"
            " never trained, or is not the one you meant.",
            f"适配器没有起作用：{len(pairs):,} 条输出与不加载它时完全相同。它可能没有训练过，或者选错了。",
        )]
    return [(
        f"The models differ in their {' and '.join(parts)}, yet all {len(pairs):,} outputs are equal."
        " Probably one and the same model answered twice.",
        f"两个模型的{'、'.join(in_chinese(part) for part in parts)}不同，但 {len(pairs):,} 条输出完全相同，"
        "很可能是同一个模型回答了两次。",
    )]


def passages(samples: Sequence[Answered]) -> list[Hashable] | None:
    """For each sample the passage that it is about, or None where no two samples share one.

    A field that is the same in all samples (an instruction, one document that all are about) tells nothing apart.
    """
    for field in PASSAGES:
        texts = [_passage(answered.doc.get(field)) for answered in samples]
        found = [text for text in texts if text is not None]
        if 1 < len(set(found)) < len(found):
            return [answered.sample if text is None else text for answered, text in zip(samples, texts, strict=True)]
    return None


def _passage(text: object) -> str | None:
    return text if isinstance(text, str) and len(text) >= MIN_PASSAGE else None


def _common(first: TaskRun, second: TaskRun) -> Iterator[tuple[Answered, Answered]]:
    for number, before in first.samples.items():
        after = second.samples.get(number)
        if after is not None and before.error is None and after.error is None:
            yield before, after


def _is_same(first: Sequence[Answer], second: Sequence[Answer]) -> bool:
    return len(first) == len(second) and all(_is_equal(a, b) for a, b in zip(first, second, strict=True))


def _is_equal(first: Answer, second: Answer) -> bool:
    if isinstance(first, str) or isinstance(second, str):
        return first == second
    before, after = (answer[0] if isinstance(answer, tuple) else answer for answer in (first, second))
    return math.isclose(before, after, rel_tol=1e-9, abs_tol=SAME_NATS)


def _differs(name: str, first: str, second: str) -> Text:
    return f"the {name} differs: {first} and {second}", f"{in_chinese(name)}不同：{first} 与 {second}"


def _shown(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = str(value)
    return text if len(text) < 40 else f"{text[:12]}…"
