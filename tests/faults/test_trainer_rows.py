"""Rows T of the fault list that the training loop itself answers for."""

import json
import math
import os
import subprocess
import sys
from collections.abc import Sequence

import pytest
import torch

from llm_app.errors import NotEnoughMemory, UserError
from llm_app.training.events import Step
from llm_app.training.learner import Learner
from llm_app.training.order import Order
from llm_app.training.rows import Tokens
from llm_app.training.trainer import Trainer, TrainingDiverged
from tests.training.little_memory import LARGE
from tests.training.tiny_run import Given, some_examples, tiny_base, tiny_config, tiny_trainer


def test_T6_a_loss_that_is_no_number_stops_the_run_at_that_step_with_the_weights_before_it(tiny_llama, tmp_path):
    config, examples = tiny_config(), some_examples(20)
    poisoned = Order.of(20, config).examples(1)[5]  # of the second step
    examples[poisoned] = Given((5, 6, 401, 7, 8), (False, True, True, True, True))
    trainer = tiny_trainer(tiny_llama, config, tmp_path, examples=examples)
    trainer.base.model.get_input_embeddings().weight.data[401] = math.inf
    run = trainer.run()
    assert isinstance(next(run), Step)
    kept = trainer.adapter_state()
    with pytest.raises(TrainingDiverged, match=r"at step 2, with learning rate 0.00\d+: .* last checkpoint") as caught:
        next(run)
    assert caught.value.param == "learning_rate"
    assert all(torch.equal(kept[name], tensor) for name, tensor in trainer.adapter_state().items())


def test_T6_a_validation_loss_that_is_no_number_stops_the_run_and_leaves_no_trace_of_it(tiny_llama, tmp_path):
    trainer = tiny_trainer(tiny_llama, tiny_config(validate_every=2), tmp_path, n_validation=2)
    run = trainer.run()
    for event in run:
        if isinstance(event, Step) and event.step == 2:
            break
    trainer.base.model.get_input_embeddings().weight.data.fill_(math.inf)
    before = trainer.state().values["progress"]
    with pytest.raises(TrainingDiverged, match=r"held-back .* after step 2, with learning rate 0.00\d+") as caught:
        next(run)
    assert caught.value.param == "learning_rate"
    assert trainer.state().values["progress"] == before


def test_T8_memory_that_runs_out_halves_the_pass_and_the_steps_stay_the_same(tiny_llama, tmp_path):
    command = [sys.executable, "-m", "tests.training.little_memory", str(tiny_llama), str(tmp_path), "60"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    tight = [json.loads(line) for line in done.stdout.splitlines()]
    notes = [event for event in tight if not event["is_step"]]
    assert notes and all(note["kind"] == "batch_halved" for note in notes)
    free = tiny_trainer(tiny_llama, tiny_config(**LARGE), tmp_path, examples=some_examples(32, longest=500)).run()
    losses = [event["loss"] for event in tight if event["is_step"]]
    assert losses == pytest.approx([event.loss for event in free], rel=1e-5)


class Narrow(Learner):
    """Memory for so many examples at a time, however short they are."""

    most = 1

    def loss(self, examples: Sequence[Tokens], seed: int) -> torch.Tensor:
        if len(examples) > self.most:
            raise MemoryError
        return super().loss(examples, seed)


def test_T8_short_examples_that_fill_a_pass_go_one_by_one_before_the_run_gives_up(tiny_llama, tmp_path):
    config, examples = tiny_config(max_steps=2, batch_size=2), some_examples(20, longest=8)
    free = [event.loss for event in tiny_trainer(tiny_llama, config, tmp_path, examples=examples).run()]
    base = tiny_base(tiny_llama, config, tmp_path)
    learner = Narrow(base, config)
    events = list(Trainer(base, config, examples, learner=learner).run())
    assert [event.loss for event in events if isinstance(event, Step)] == pytest.approx(free, rel=1e-5)
    notes = [event.text for event in events if not isinstance(event, Step)]
    assert len(notes) == 2 and "one example at a time from now on" in notes[1]
    learner.most = 0
    with pytest.raises(NotEnoughMemory, match="one example of at most . tokens at a time"):
        list(Trainer(base, config, examples, learner=learner).run())


def test_T9_data_without_a_trained_token_is_refused_with_its_count(tiny_llama, tmp_path):
    masked = [Given((1, 2, 3), (False,) * 3), Given((4,), (True,))]
    with pytest.raises(UserError, match="None of the 2 examples has a token to learn from"):
        tiny_trainer(tiny_llama, tiny_config(), tmp_path, examples=masked)
