"""Compiled functions on the threads that compute for torch.

A second team beside torch's would keep torch's threads from waiting awake (`engine/pace.py`). So the team is that of
torch's own OpenMP, where it has GNU's entry points; elsewhere the calling thread computes alone.
"""

import ctypes
from typing import Any

import llvmlite.binding
import torch
from numba import cfunc, njit, types


def _library() -> ctypes.CDLL | None:
    """Torch's OpenMP. Compiled functions find what they call of it by name, or else what a thread alone needs."""
    try:
        found: ctypes.CDLL | None = ctypes.CDLL(torch._C.__file__)
        addresses = [ctypes.cast(getattr(found, name), ctypes.c_void_p).value for name in (*_NAMES, "GOMP_parallel")]
    except (OSError, AttributeError):
        alone = [cfunc(types.int32())(answer) for answer in (lambda: 0, lambda: 0, lambda: 1)]
        found, addresses = None, [each.address for each in alone]
        _HELD.extend(alone)
    for name, address in zip(_NAMES, addresses, strict=False):
        llvmlite.binding.add_symbol(name, address)
    return found


_NAMES = "GOMP_barrier", "omp_get_thread_num", "omp_get_num_threads"
_HELD: list[Any] = []  # functions whose addresses are in use
_LIBRARY = _library()
wait_for_all = types.ExternalFunction("GOMP_barrier", types.void())  # until all threads of the team are here
number = types.ExternalFunction("omp_get_thread_num", types.int32())  # of the calling thread in its team
size = types.ExternalFunction("omp_get_num_threads", types.int32())  # of the team, which may be smaller than was asked


@njit(cache=True)
def share(n: int) -> tuple[int, int]:
    """Of so many pieces of work, the first of the calling thread and that behind its last."""
    return n * number() // size(), n * (number() + 1) // size()


def n_threads() -> int:
    """Of the team that the calling thread gets, at most."""
    return torch.get_num_threads() if _LIBRARY is not None else 1


def run(function: Any, argument: int, n_threads: int) -> None:
    """Call a function of C that takes an address, on so many threads; the interpreter is free meanwhile."""
    if _LIBRARY is None:
        ctypes.CFUNCTYPE(None, ctypes.c_void_p)(function.address)(argument)
    else:
        _LIBRARY.GOMP_parallel(ctypes.c_void_p(function.address), ctypes.c_void_p(argument), n_threads, 0)


IS_ALONE = _LIBRARY is None
