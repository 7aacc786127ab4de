"""Named lists of tasks: one word for what people measure together, with shots and limits that belong to it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

SMOKE_DATA = Path(__file__).parents[1] / "data" / "smoke"


@dataclass(frozen=True)
class Entry:
    """One task of a suite; None is the task's own. What the person asks for goes before both numbers."""

    task: str
    n_shots: int | None = None
    limit: int | None = None

    def asked(self, n_shots: int | None, limit: int | None) -> tuple[int | None, int | None]:
        """Shots and limit, given what the person asks for."""
        return self.n_shots if n_shots is None else n_shots, self.limit if limit is None else limit


@dataclass(frozen=True)
class TaskSuite:
    """A name for several tasks, and what it is for, in English and Chinese.

    `weights`: of each task in the one score of all, the mean of their first metrics; None where there is no such score.
    """

    name: str
    about: tuple[str, str]
    entries: tuple[Entry, ...]
    weights: Mapping[str, float] | None = None


# Our own items, in the order of the table; all data is in the folder of the task files.
SMOKE = TaskSuite(
    "smoke",
    (
        "About a minute on a quiet laptop, offline: is the model sound, did a change break it?",
        "空闲的笔记本电脑上约一分钟，离线完成：模型是否正常，改动有没有弄坏它。",
    ),
    tuple(
        Entry(str(SMOKE_DATA / f"{name}.yaml"))
        for name in (
            "sentiment_en", "sentiment_zh", "entailment", "choices", "answers", "translation", "summaries", "text",
        )
    ),
)
QUICK = TaskSuite(
    "quick",
    ("Well-known tasks, 100 samples each: minutes on a GPU.", "常用基准各取 100 条样本，GPU 上几分钟完成。"),
    tuple(
        Entry(task, n_shots, 100)
        for task, n_shots in (
            ("sst2", 0), ("mrpc", 0), ("boolq", 0), ("piqa", 0), ("arc_easy", 0), ("arc_challenge", 0),
            ("hellaswag", 0), ("lambada_openai", 0), ("gsm8k", 5),
        )
    ) + (Entry("wikitext", limit=10),),
)
_GLUE = ("cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "mnli_mismatch", "qnli", "rte", "wnli")
# The harness's tag `glue` lacks STS-B; GLUE's own order, and its mean, in which both halves of MNLI are one task.
GLUE = TaskSuite(
    "glue",
    ("All nine tasks of GLUE, with its metrics.", "GLUE 的全部九个任务，使用其官方指标。"),
    tuple(Entry(task) for task in _GLUE),
    {task: 0.5 if task.startswith("mnli") else 1.0 for task in _GLUE},
)
FULL = TaskSuite(
    "full",
    ("What model cards report, whole: hours on a GPU.", "模型卡常报告的基准，完整运行：GPU 上数小时。"),
    (
        *GLUE.entries,
        *(Entry(task, 0) for task in ("boolq", "piqa", "winogrande", "openbookqa", "arc_easy", "lambada_openai")),
        Entry("arc_challenge", 25), Entry("hellaswag", 10), Entry("truthfulqa_mc2"), Entry("mmlu", 5),
        Entry("cmmlu", 5), Entry("gsm8k", 5), Entry("wikitext"),
    ),
)


# Of the smoke tasks those that a small model has something to lose on, the same for base and adapter.
FORGETTING = TaskSuite(
    "forgetting",
    (
        "What tuning may have cost: knowledge, reading, writing, plain language. Two minutes for base and adapter.",
        "微调可能丢掉的能力：知识、阅读、写作、通用语言；底座与适配器合计约两分钟。",
    ),
    tuple(
        Entry(str(SMOKE_DATA / f"{name}.yaml"))
        for name in ("sentiment_en", "choices", "answers", "summaries", "text")
    ),
)
SUITES = (SMOKE, QUICK, FULL, GLUE, FORGETTING)


def expand(asked: Sequence[str]) -> list[Entry]:
    """Tasks in the order asked, suites in place of their names, nothing twice."""
    by_name = {suite.name: suite.entries for suite in SUITES}
    entries: dict[str, Entry] = {}
    for name in asked:
        for entry in by_name.get(name, (Entry(name),)):
            entries.setdefault(entry.task, entry)
    return list(entries.values())
