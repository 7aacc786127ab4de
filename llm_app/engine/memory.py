"""How much memory this machine has, as a whole."""

import contextlib
from pathlib import Path

import psutil


def total_bytes(*, groups: Path = Path("/sys/fs/cgroup")) -> int:
    """All memory of the machine, or what the container may use of it; the same at every call."""
    limits = [psutil.virtual_memory().total]
    for limit in ("memory.max", "memory/memory.limit_in_bytes"):  # the two versions of Linux's control groups
        with contextlib.suppress(OSError, ValueError):  # no such file, or "max": no limit
            limits.append(int((groups / limit).read_text()))
    return min(limits)
