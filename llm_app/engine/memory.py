"""How much memory this machine has, and what a token takes of it."""

import contextlib
from pathlib import Path
from typing import Any

import psutil


def total_bytes(*, groups: Path = Path("/sys/fs/cgroup")) -> int:
    """All memory of the machine, or what the container may use of it; the same at every call."""
    limits = [psutil.virtual_memory().total]
    for limit in ("memory.max", "memory/memory.limit_in_bytes"):  # the two versions of Linux's control groups
        with contextlib.suppress(OSError, ValueError):  # no such file, or "max": no limit
            limits.append(int((groups / limit).read_text()))
    return min(limits)


def bytes_per_position(model: Any) -> int:
    """Memory of the keys and values of one token in all layers, in bytes."""
    config = model.config.get_text_config()
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return int(2 * config.num_hidden_layers * heads * size * model.dtype.itemsize)
