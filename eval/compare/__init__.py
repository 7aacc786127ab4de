"""Did it help? Runs that answered the same samples, put side by side: how sure the difference is, and sample by sample.

`compare` takes runs as plain values (`Run`), wherever they come from; `harness_files.read` makes one from the files of
lm-evaluation-harness. `eval.verdict` says in a sentence what a `Comparison` holds.
"""

from eval.compare.changes import SampleChange, word_diff
from eval.compare.comparison import compare, to_json
from eval.compare.outcome import Comparison, TaskComparison
from eval.compare.pairing import Refusal
from eval.compare.run import Answered, Metric, Run, TaskRun

__all__ = [
    "Answered",
    "Comparison",
    "Metric",
    "Refusal",
    "Run",
    "SampleChange",
    "TaskComparison",
    "TaskRun",
    "compare",
    "to_json",
    "word_diff",
]
