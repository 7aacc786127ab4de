"""What each of several launched processes runs: a few steps on the model given, the first writes the losses down."""

import json
import sys
from pathlib import Path

from llm_app.training.events import Step
from llm_app.training.processes import launched_processes
from llm_app.training.trainer import Trainer
from tests.training.tiny_run import some_examples, tiny_base, tiny_config

if __name__ == "__main__":
    folder, out = Path(sys.argv[1]), Path(sys.argv[2])
    processes = launched_processes("cpu")
    config = tiny_config(batch_size=2, accumulation=4)
    trainer = Trainer(
        tiny_base(folder, config, out), config, some_examples(21), some_examples(5, seed=1), processes=processes
    )
    events = list(trainer.run())
    if processes.is_first:
        told = {
            "n_processes": processes.count, "losses": [event.loss for event in events if isinstance(event, Step)],
            "validation": [event.loss for event in events if not isinstance(event, Step)],
        }
        (out / "told.json").write_text(json.dumps(told))
