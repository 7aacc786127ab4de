"""The root-mean-square norms of a layer, by the operations that are fastest for so many rows."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

SHORT_ROWS = 64  # up to so many, operations cost more than what goes through memory twice


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """Of bfloat16 (..., n), with the weight twice, (2n).

    The numbers beside their negatives have the mean 0, and torch's layer norm of those is one operation on the CPU,
    where its own `rms_norm` is nine.
    """
    n = x.shape[-1]
    return functional.layer_norm(torch.cat((x, x.neg()), -1), [2 * n], weight, None, eps)[..., :n].contiguous()


class Norm:
    """The root-mean-square norm of a transformers module."""

    def __init__(self, module: Any) -> None:
        self.weight: Tensor = module.weight
        self.eps: float = module.variance_epsilon
        is_short = self.weight.device.type == "cpu" and self.weight.dtype == torch.bfloat16
        self.twice = torch.cat((self.weight, self.weight)).detach() if is_short else None

    def __call__(self, x: Tensor) -> Tensor:
        """(..., n) to the same."""
        if self.twice is not None and x.dtype == torch.bfloat16 and len(x) <= SHORT_ROWS:
            return rms_norm(x, self.twice, self.eps)
        return functional.rms_norm(x, self.weight.shape, self.weight, self.eps)
