"""The processes that train one model together, as `accelerate launch` started them; most often one alone."""

import os
import sys
from dataclasses import dataclass

import psutil
import torch
from torch import Tensor


@dataclass(frozen=True)
class Processes:
    """This process and how many there are. The first one speaks and saves; all hold the same weights."""

    index: int = 0
    count: int = 1
    device: torch.device | None = None  # of this process where there are several, else the options choose

    @property
    def is_first(self) -> bool:
        """Whether this one speaks."""
        return self.index == 0

    def add_up(self, *tensors: Tensor) -> None:
        """Replace each by its sum over all processes."""
        if self.count > 1:
            for tensor in tensors:
                torch.distributed.all_reduce(tensor)

    def share(self, text: str) -> str:
        """What the first process has to say, in all of them."""
        if self.count == 1:
            return text
        data = list(text.encode()) if self.is_first else []
        n_bytes = torch.tensor(len(data), device=self.device)
        torch.distributed.broadcast(n_bytes, src=0)
        told = torch.tensor(data or [0] * int(n_bytes), device=self.device)
        torch.distributed.broadcast(told, src=0)
        return bytes(told.tolist()).decode()


def launched_processes(device: str = "auto") -> Processes:
    """Join the others if a launcher started several, else be alone. `device`: as the options say."""
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        return Processes()
    from accelerate import PartialState

    state = PartialState(cpu=device == "cpu" or not torch.cuda.is_available())
    return Processes(state.process_index, state.num_processes, state.device)


def peak_memory_bytes(device: torch.device) -> int:
    """The most memory that this process held so far, on the GPU if it trains there."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
