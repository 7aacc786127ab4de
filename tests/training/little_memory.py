"""A run in a process that may hold little more than it does: prints its events as JSON."""

import json
import resource
import sys
from dataclasses import asdict
from pathlib import Path

from llm_app.training.events import Step
from tests.training.tiny_run import some_examples, tiny_config, tiny_trainer

LARGE = {"batch_size": 32, "accumulation": 1, "max_steps": 2}

if __name__ == "__main__":
    folder, home, megabytes = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    config, examples = tiny_config(**LARGE), some_examples(32, longest=500)
    # What is mapped once, whatever the size of a batch, is there before the limit is set.
    list(tiny_trainer(folder, tiny_config(batch_size=1, accumulation=1, max_steps=1), home, examples=examples).run())
    trainer = tiny_trainer(folder, config, home, examples=examples)
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + megabytes * 2**20,) * 2)
    for event in trainer.run():
        print(json.dumps({"is_step": isinstance(event, Step), **asdict(event)}), flush=True)
