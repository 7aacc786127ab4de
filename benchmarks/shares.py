"""What a call spends its time on, in kinds of operations, by torch's profiler: of the thread that calls."""

from collections import defaultdict
from collections.abc import Callable
from typing import TypeVar

from torch.profiler import ProfilerActivity, profile

T = TypeVar("T")
# The first kind whose word is in an operation's name; what no kind knows is counted as elementwise and copies.
KINDS = {
    "attention": ("scaled_dot_product", "flash_attention"),
    "matrix products": ("linear", "addmm", "bmm", "mm", "mv", "mkldnn", "int4pack"),
    "softmax and loss": ("softmax", "nll_loss", "cross_entropy", "logsumexp"),
}
REST = "elementwise and copies"


def shares(call: Callable[[], T]) -> tuple[T, dict[str, float]]:
    """What it gives, and the share of each kind in the time of all operations."""
    with profile(activities=[ProfilerActivity.CPU]) as measured:
        result = call()
    seconds: dict[str, float] = defaultdict(float)
    for event in measured.key_averages():
        kind = next((kind for kind, words in KINDS.items() if any(word in event.key for word in words)), REST)
        seconds[kind] += event.self_cpu_time_total
    total = sum(seconds.values())
    return result, {kind: round(seconds[kind] / total, 2) for kind in (*KINDS, REST)}
