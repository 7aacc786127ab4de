"""What learns, as one flat tensor, and AdamW over it: clipping, adding up over processes and saving are one line."""

import math
from collections.abc import Iterable
from typing import Protocol

import torch
from torch import Tensor, nn

BETAS, EPSILON = (0.9, 0.999), 1e-8


class Scheduled(Protocol):
    """Options of a training, as far as they decide the learning rate."""

    @property
    def peak_rate(self) -> float:
        """The highest rate."""
        ...

    @property
    def warmup(self) -> float:
        """Share of the steps in which the rate rises."""
        ...

    @property
    def schedule(self) -> str:
        """How it falls then: linear, cosine or constant."""
        ...


class Weights:
    """The trained parameters, moved into one float32 tensor of which they become views; so do their gradients."""

    def __init__(self, named: Iterable[tuple[str, nn.Parameter]]) -> None:
        # Decayed ones first: AdamW takes the two parts as two parameters.
        parameters = sorted(named, key=lambda item: not _decays(*item))
        self.names = tuple(name for name, _ in parameters)
        self.shapes = tuple(tuple(parameter.shape) for _, parameter in parameters)
        sizes = [parameter.numel() for _, parameter in parameters]
        self.n_decayed = sum(size for size, item in zip(sizes, parameters, strict=True) if _decays(*item))
        device = parameters[0][1].device
        self.flat = torch.empty(sum(sizes), device=device)
        self.gradient = torch.zeros_like(self.flat)
        start = 0
        for size, (_, parameter) in zip(sizes, parameters, strict=True):
            part = slice(start, start + size)
            self.flat[part] = parameter.detach().reshape(-1)
            parameter.data = self.flat[part].view(parameter.shape)
            parameter.grad = self.gradient[part].view(parameter.shape)
            start += size

    def named(self) -> dict[str, Tensor]:
        """A copy of each, under its name."""
        sizes = [math.prod(shape) for shape in self.shapes]
        parts = zip(self.names, self.shapes, self.flat.split(sizes), strict=True)
        return {name: part.view(shape).clone().cpu() for name, shape, part in parts}


def _decays(name: str, parameter: Tensor) -> bool:
    """Matrices are pulled to zero; biases, norms and DoRA's lengths are not, as usual."""
    return parameter.ndim >= 2


class AdamW:
    """torch's AdamW over flat weights, with a state that can be saved and put back."""

    def __init__(self, weights: Weights, weight_decay: float) -> None:
        self._weights = weights
        n = weights.n_decayed
        bounds = [(slice(0, n), weight_decay), (slice(n, None), 0.0)]
        self._parts = [(part, decay) for part, decay in bounds if weights.flat[part].numel()]
        self.first, self.second = torch.zeros_like(weights.flat), torch.zeros_like(weights.flat)
        groups = []
        for part, decay in self._parts:
            parameter = nn.Parameter(weights.flat[part])
            parameter.grad = weights.gradient[part]
            groups.append({"params": [parameter], "weight_decay": decay})
        self._torch = torch.optim.AdamW(groups, lr=0.0, betas=BETAS, eps=EPSILON, fused=True)
        self.set_steps(0)

    def set_steps(self, n_steps: int) -> None:
        """Say how many steps the moments have seen; `first` and `second` are the moments."""
        for group, (part, _) in zip(self._torch.param_groups, self._parts, strict=True):
            parameter = group["params"][0]
            self._torch.state[parameter] = {
                "step": torch.tensor(float(n_steps), device=parameter.device),
                "exp_avg": self.first[part], "exp_avg_sq": self.second[part],
            }  # fmt: skip

    def step(self, rate: float) -> None:
        """Change the weights by their gradient."""
        for group in self._torch.param_groups:
            group["lr"] = rate
        self._torch.step()


def clip(gradient: Tensor, longest: float) -> float:
    """Length of the gradient before it is cut to `longest`; 0 does not cut."""
    norm = float(gradient.norm())
    if 0 < longest < norm:
        gradient.mul_(longest / (norm + 1e-6))  # as torch's clip_grad_norm_
    return norm


def rate_at(step: int, n_steps: int, config: Scheduled) -> float:
    """Learning rate of a step, from 0: it rises over the warm-up and is never zero, then falls as the schedule says."""
    n_warm = math.ceil(n_steps * config.warmup)
    if step < n_warm:
        return config.peak_rate * (step + 1) / (n_warm + 1)
    done = (step - n_warm) / max(n_steps - n_warm, 1)
    if config.schedule == "cosine":
        return config.peak_rate * 0.5 * (1 + math.cos(math.pi * done))
    return config.peak_rate * (1 - done if config.schedule == "linear" else 1.0)
