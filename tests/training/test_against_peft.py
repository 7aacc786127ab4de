"""The loss curve of a LoRA run equals that of transformers' Trainer with peft: same data order, seed, float32."""

from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import Trainer as Reference
from transformers import TrainingArguments

from llm_app.training.events import Step
from llm_app.training.order import Order
from tests import tiny
from tests.training.tiny_run import some_examples, tiny_config, tiny_trainer


class InOrder(Reference):
    """The same loop over examples that are in order already."""

    def _get_train_sampler(self, *_args):
        return torch.utils.data.SequentialSampler(self.train_dataset)


def collate(examples):
    longest = max(len(example.ids) for example in examples)
    batch = {key: torch.zeros(len(examples), longest, dtype=torch.long) for key in ("input_ids", "attention_mask")}
    batch["labels"] = torch.full((len(examples), longest), -100)
    for row, example in enumerate(examples):
        n = len(example.ids)
        batch["input_ids"][row, :n] = torch.tensor(example.ids)
        batch["attention_mask"][row, :n] = 1
        batch["labels"][row, :n] = torch.where(torch.tensor(example.trained), torch.tensor(example.ids), -100)
    return batch


def reference_losses(model, config, examples, folder: Path):
    """Its loss of every step, all examples of a step in their order."""
    order = Order.of(len(examples), config)
    in_order = [examples[i] for step in range(config.max_steps) for i in order.examples(step)]
    torch.manual_seed(config.seed)
    tuned = get_peft_model(
        model,
        LoraConfig(
            r=config.rank, lora_alpha=config.alpha, lora_dropout=0.0, target_modules="all-linear", task_type="CAUSAL_LM"
        ),
    )
    arguments = TrainingArguments(
        output_dir=str(folder), per_device_train_batch_size=config.batch_size,
        gradient_accumulation_steps=config.accumulation, max_steps=config.max_steps, learning_rate=config.peak_rate,
        lr_scheduler_type=config.schedule, warmup_steps=0, max_grad_norm=config.max_gradient_norm, weight_decay=0.0,
        logging_steps=1, report_to=[], save_strategy="no", use_cpu=True, disable_tqdm=True, remove_unused_columns=False,
        seed=config.seed, optim="adamw_torch",
    )  # fmt: skip
    trainer = InOrder(model=tuned, args=arguments, train_dataset=in_order, data_collator=collate)
    trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


@pytest.mark.parametrize("family", ["tiny_llama", "tiny_qwen2"])
def test_thirty_steps_have_the_losses_of_transformers_trainer_with_peft(family, request, tmp_path):
    folder = request.getfixturevalue(family)
    config = tiny_config(max_steps=30, max_gradient_norm=0.2, learning_rate=0.01)
    examples = some_examples(40)  # eight to a step, so that no step is smaller than another
    trainer = tiny_trainer(folder, config, tmp_path, examples=examples)
    ours = [event.loss for event in trainer.run() if isinstance(event, Step)]
    theirs = reference_losses(tiny.load_plain(folder), config, examples, tmp_path / "reference")
    assert len(theirs) == 30 and theirs[-1] < theirs[0] - 0.1
    assert ours == pytest.approx(theirs, abs=1e-4)


@pytest.mark.verify
def test_thirty_steps_of_the_embedded_model_have_the_losses_of_transformers_trainer_with_peft(tmp_path):
    from transformers import AutoModelForCausalLM, GgufConfig

    from llm_app.config import Settings
    from llm_app.engine import catalog
    from llm_app.training.base import load_base
    from llm_app.training.trainer import Trainer

    settings, path = Settings(home=tmp_path), catalog.embedded_model()
    config = tiny_config(max_steps=30, rank=16, alpha=32.0, batch_size=2, learning_rate=2e-4)
    base = load_base(catalog.find_model("embedded", settings), config, settings)
    examples = some_examples(40, longest=60)
    ours = [event.loss for event in Trainer(base, config, examples).run() if isinstance(event, Step)]
    model = AutoModelForCausalLM.from_pretrained(
        path.parent, gguf_file=path.name, dtype=torch.float32, quantization_config=GgufConfig(dequantize=True)
    )
    theirs = reference_losses(model, config, examples, tmp_path / "reference")
    assert len(theirs) == 30
    assert ours == pytest.approx(theirs, abs=1e-4)
