"""What a call spends its time on, in kinds of operations, by torch's profiler: of the thread that calls."""

from collections import defaultdict
from collections.abc import Callable
from typing import Any, TypeVar

from torch.profiler import ProfilerActivity, profile, record_function

from llm_app.engine.compiled import team

T = TypeVar("T")
# The first kind whose word is in an operation's name; what no kind knows is counted as elementwise and copies.
KINDS = {
    "compiled layers and products": ("compiled",),
    "attention": ("scaled_dot_product", "flash_attention"),
    "matrix products": ("linear", "addmm", "bmm", "mm", "mv", "mkldnn", "int4pack"),
    "softmax and loss": ("softmax", "nll_loss", "cross_entropy", "logsumexp"),
}
REST = "elementwise and copies"


def shares(call: Callable[[], T]) -> tuple[T, dict[str, float]]:
    """What it gives, and the share of each kind in the time of all operations."""
    plain = team.run

    def named(*arguments: Any) -> None:
        with record_function("compiled"):
            plain(*arguments)

    team.run = named  # of which the profiler sees nothing
    try:
        with profile(activities=[ProfilerActivity.CPU]) as measured:
            result = call()
    finally:
        team.run = plain
    seconds: dict[str, float] = defaultdict(float)
    for event in measured.key_averages():
        kind = next((kind for kind, words in KINDS.items() if any(word in event.key for word in words)), REST)
        seconds[kind] += event.self_cpu_time_total
    total = sum(seconds.values())
    return result, {kind: round(seconds[kind] / total, 2) for kind in (*KINDS, REST)}
