"""The training loop: an iterator of events. Between any two of them the run can be saved, and goes on bit-equal."""

import math
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from llm_app.engine.failures import is_out_of_memory
from llm_app.engine.loading import release_memory
from llm_app.errors import NotEnoughMemory, UserError
from llm_app.training.base import Base
from llm_app.training.config import TrainConfig
from llm_app.training.events import Event, Note, Step, Validation
from llm_app.training.learner import Learner, Learns
from llm_app.training.optim import AdamW, clip, rate_at
from llm_app.training.order import Order, passes
from llm_app.training.processes import Processes, peak_memory_bytes
from llm_app.training.product import mixed
from llm_app.training.rows import Tokens, n_trained
from llm_app.training.samples import SamplePrompt, replies
from llm_app.training.state import TrainerState, put_back, taken

N_VALIDATIONS = 10  # of a run, unless the options say otherwise
N_RISES = 3  # validations in a row that each got worse, before we say so


class TrainingDiverged(UserError):
    """A loss or its gradient is no number any more; in training, the weights are those before the step."""

    code = "training_diverged"


@dataclass(frozen=True)
class Progress:
    """Where a run is. `n_a_pass`: long examples in a pass, fewer if memory ran out; 0: one of any length at a time."""

    step: int = 0  # steps done
    n_a_pass: int = 1
    validated: int = -1  # the step after which was validated last
    best_step: int = -1
    best_loss: float = math.inf
    last_loss: float = math.inf
    n_stale: int = 0  # validations in a row without gain
    n_rises: int = 0
    is_over: bool = False


class Trainer:
    """One training run. `processes`: those that share the work; each has a Trainer over the same data.

    Raises: UserError if nothing is to be learned from the data, or a target names no layer.
    """

    def __init__(
        self, base: Base, config: TrainConfig, train: Sequence[Tokens], validation: Sequence[Tokens] = (), *,
        sample_prompts: Sequence[SamplePrompt] = (), processes: Processes | None = None,
        learner: "Learns | None" = None,
    ) -> None:
        if not any(n_trained(example) for example in train):
            raise UserError(
                f"None of the {len(train):,} examples has a token to learn from: all are masked, empty or cut off."
            )
        self.base, self.config = base, config
        self._train, self._validation = train, [each for each in validation if n_trained(each)]
        self._prompts, self._processes = sample_prompts, processes or Processes()
        self._order = Order.of(len(train), config)
        self.n_steps = self._order.n_steps(config)
        self.learner: Learns = learner or Learner(base, config)
        self._weights = self.learner.weights
        self._optimizer = AdamW(self._weights, config.weight_decay)
        self._progress = Progress(n_a_pass=config.batch_size)
        self._is_asked_to_stop = self._has_agreed_to_stop = False

    @property
    def step(self) -> int:
        """Steps done."""
        return self._progress.step

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to do: all steps are done, or patience was lost."""
        return self.step >= self.n_steps or self._progress.is_over

    @property
    def best_step(self) -> int | None:
        """After which step the validation loss was lowest; None before the first validation."""
        return self._progress.best_step if self._progress.best_step >= 0 else None

    @property
    def n_validation(self) -> int:
        """Held-back examples that a loss can be taken on; without any there are no validations."""
        return len(self._validation)

    @property
    def validates_every(self) -> int:
        """Steps between two validations."""
        return self.config.validate_every or math.ceil(self.n_steps / N_VALIDATIONS)

    def stop(self) -> None:
        """End between two steps, in all processes; closing the iterator would end this one alone."""
        self._is_asked_to_stop = True

    def run(self) -> Iterator[Event]:
        """Train from where the run is to its end.

        Raises: TrainingDiverged, or NotEnoughMemory if not even one example at a time fits.
        """
        if not self.learner.is_packing and self.config.packs:
            text = "This architecture cannot take examples side by side: they are padded."
            yield Note(self.step, "not_packed", text, "此架构不能把样本并排放入一行：改为填充。")
        yield from self._validated()
        while not self.is_over:
            yield from self._one_step()
            yield from self._validated()
            # Of several processes, each hears of it in the next step.
            if self._has_agreed_to_stop or (self._is_asked_to_stop and self._processes.count == 1):
                return

    # One step ----------------------------------------------------------------------------------------------------

    def _one_step(self) -> Iterator[Event]:
        started = time.perf_counter()
        chosen = [self._train[i] for i in self._order.examples(self.step)]
        rate = rate_at(self.step, self.n_steps, self.config)
        n_targets = sum(map(n_trained, chosen))
        while (loss := self._gradients(chosen, max(n_targets, 1))) is None:
            yield self._halved(max(len(example.ids) for example in chosen))
        norm = clip(self._weights.gradient, self.config.max_gradient_norm)
        if not math.isfinite(loss) or not math.isfinite(norm):
            what = "loss" if not math.isfinite(loss) else "gradient"
            raise TrainingDiverged(
                f"The {what} became NaN or infinite at step {self.step + 1}, with learning rate {rate:.2g}: it was "
                "not taken. Lower the learning rate, or go on from the last checkpoint.",
                param="learning_rate",
            )
        self._optimizer.step(rate)
        self._progress = replace(self._progress, step=self.step + 1)
        yield Step(
            step=self.step, n_steps=self.n_steps, epoch=round(self.step / self._order.n_an_epoch, 4), loss=loss,
            learning_rate=rate, gradient_norm=norm, n_tokens=sum(len(example.ids) for example in chosen),
            n_trained_tokens=n_targets, seconds=time.perf_counter() - started,
            memory_bytes=peak_memory_bytes(self.base.device),
        )  # fmt: skip

    def _gradients(self, chosen: Sequence[Tokens], n_targets: int) -> float | None:
        """Fill the gradient of the mean loss over all trained tokens of the step; gives that mean.

        None where memory ran out, in this process or another.
        """
        own = range(self._processes.index, len(chosen), self._processes.count)
        told = torch.zeros(3, dtype=torch.float64)  # loss, whether memory ran out, whether to stop
        self._weights.gradient.zero_()
        self.learner.trains(True)
        try:
            for places in self._passes([chosen[i] for i in own]):
                passed = own[places.start : places.stop]
                # The first example numbers the pass, however passes are cut and shared out.
                seed = mixed(self.config.seed, self.step, passed[0])
                loss = self.learner.loss([chosen[i] for i in passed], seed) / n_targets
                loss.backward()
                told[0] += loss.item()
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            told[1] = 1.0
            # The traceback holds the frames, and the frames hold what filled the memory.
            traceback.clear_frames(error.__traceback__)
        told[2] = float(self._is_asked_to_stop)
        told = told.to(self.base.device)
        self._processes.add_up(self._weights.gradient, told)
        loss_sum, n_failed, n_stopping = told.tolist()
        self._has_agreed_to_stop = n_stopping > 0
        return loss_sum if n_failed == 0 else None

    def _passes(self, examples: Sequence[Any]) -> Iterator[range]:
        """Side by side, short ones fill a pass up to what long ones would take; padded, each counts as one."""
        n = self._progress.n_a_pass
        if not self.learner.is_packing:
            return passes([1] * len(examples), n, 0)
        return passes([len(example.ids) for example in examples], max(n, 1), n * self.base.max_length(self.config))

    def _halved(self, longest: int) -> Note:
        """Half as many examples a pass, in the end one without others beside it; the mean over the step stays."""
        release_memory()
        n = self._progress.n_a_pass
        if n == (0 if self.learner.is_packing else 1):
            raise NotEnoughMemory(
                f"Memory ran out with one example of at most {longest:,} tokens at a time. Lower the cut-off length, "
                "switch gradient checkpointing on, or choose qlora."
            )
        self._progress = replace(self._progress, n_a_pass=n // 2)
        size = f"{n // 2} examples a pass" if n > 1 else "one example at a time"
        text = f"Memory ran out: {size} from now on, in more passes; the steps stay the same."
        text_zh = f"内存不足：此后每遍 {max(n // 2, 1)} 个样本，遍数增加；优化步不变。"
        return Note(self.step, "batch_halved", text, text_zh)

    # Validation --------------------------------------------------------------------------------------------------

    def _validated(self) -> Iterator[Event]:
        """Validate if it is due and has not been done; decide whether to go on."""
        step, is_last = self.step, self.step >= self.n_steps
        is_due = is_last or step % self.validates_every == 0
        if not is_due or self._progress.validated == step or not self._validation:
            return
        loss = self._validation_loss()
        if not math.isfinite(loss):
            raise self._lost(step)
        samples = replies(self.base, self._prompts) if self._processes.is_first else ()
        before = self._progress
        is_gain = loss < before.best_loss - self.config.smallest_gain
        is_rise = loss > before.last_loss
        self._progress = replace(
            before, validated=step, last_loss=loss,
            best_loss=loss if is_gain else before.best_loss, best_step=step if is_gain else before.best_step,
            n_stale=0 if is_gain else before.n_stale + 1, n_rises=before.n_rises + 1 if is_rise else 0,
        )
        n_targets = sum(map(n_trained, self._validation))
        has_lost_patience = bool(self.config.patience) and self._progress.n_stale >= self.config.patience
        if has_lost_patience and not is_last:
            self._progress = replace(self._progress, is_over=True)
        yield Validation(step, loss, n_targets, samples)
        if self._progress.is_over:
            n, best = self._progress.n_stale, self._progress.best_step
            text = f"No gain in {n} validations: stopped. The best was after step {best}."
            yield Note(step, "stopped_early", text, f"连续 {n} 次验证没有进步：已停止。最好的是第 {best} 步之后。")
        elif self._progress.n_rises == N_RISES:
            text = f"The validation loss rose {N_RISES} times in a row: this may be overfitting."
            yield Note(step, "loss_rises", text, f"验证损失连续上升 {N_RISES} 次：可能已过拟合。")

    def _lost(self, step: int) -> TrainingDiverged:
        """Why the run ends here, and what may help."""
        what = "The loss on the held-back examples is NaN or infinite"
        if step == 0:
            why = "before the first step, so no learning rate mends it: look at these examples, or choose fp32."
            return TrainingDiverged(f"{what} {why}", param="precision")
        rate = rate_at(step - 1, self.n_steps, self.config)
        return TrainingDiverged(
            f"{what} after step {step}, with learning rate {rate:.2g}. Lower the learning rate, or go on from the last "
            "checkpoint.", param="learning_rate",
        )  # fmt: skip

    @torch.no_grad()
    def _validation_loss(self) -> float:
        """Mean over all trained tokens of the held-back examples."""
        self.learner.trains(False)
        # Of like length together, so that padding, where there is any, is little.
        ordered = sorted(self._validation, key=lambda example: len(example.ids))
        own = ordered[self._processes.index :: self._processes.count]
        total = torch.zeros((), dtype=torch.float64)
        for places in self._passes(own):
            total += self.learner.loss(own[places.start : places.stop], 0).item()
        total = total.to(self.base.device)
        self._processes.add_up(total)
        return float(total) / sum(map(n_trained, ordered))

    # State -------------------------------------------------------------------------------------------------------

    def state(self) -> TrainerState:
        """Copies of everything that decides what comes next. Masks and noise are decided by seed and step."""
        return taken(self._weights, self._optimizer, self._progress)

    def restore(self, state: TrainerState) -> None:
        """Go on from there.

        Raises: UserError if the state belongs to other weights than these.
        """
        others = "another model or of other trained layers"
        self._progress = Progress(**put_back(state, self._weights, self._optimizer, of_others=others))

    def adapter_state(self) -> dict[str, Tensor]:
        """What is saved in the end: the adapter under PEFT's names; of full training, all weights under the model's."""
        return self._weights.named()
