"""What training tells while it runs. Each becomes one line of the run's log; no tensors, no third-party types."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Step:
    """One optimiser step.

    `loss`: mean over its trained tokens, in nats; `gradient_norm`: before clipping; `memory_bytes`: the most that this
    process held so far.
    """

    step: int  # from 1
    n_steps: int
    epoch: float
    loss: float
    learning_rate: float
    gradient_norm: float
    n_tokens: int  # that passed through the model in this step
    n_trained_tokens: int  # that the loss was taken on
    seconds: float
    memory_bytes: int


@dataclass(frozen=True)
class Validation:
    """Loss on the held-back examples after a step (0: before the first), and replies to a few prompts.

    `loss`: mean over all their trained tokens, in nats.
    """

    step: int
    loss: float
    n_trained_tokens: int
    samples: tuple[tuple[str, str, str], ...] = ()  # prompt, expected answer, the model's


@dataclass(frozen=True)
class Saved:
    """A checkpoint is whole on disk and verified."""

    step: int
    is_best: bool


@dataclass(frozen=True)
class Note:
    """Something the person should know: a batch was halved, the loss rises, training stopped early.

    `text_zh`: the same in Chinese, empty where it is not known.
    """

    step: int
    kind: str  # batch_halved, stopped_early, loss_rises, not_packed, resumed
    text: str
    text_zh: str = ""


Event = Step | Validation | Saved | Note
