"""Models that are made without memory, while others are made with it."""

import sys
import threading
from pathlib import Path

import torch
from torch import nn
from transformers import AutoConfig

from llm_app.engine.placing import empty_model


def test_models_without_memory_leave_those_of_other_threads_and_later_ones_theirs(tiny_llama: Path) -> None:
    config = AutoConfig.from_pretrained(tiny_llama)
    made: list[str] = []

    def make() -> None:
        for _ in range(10):
            model = empty_model(config, torch.float32)
            made.extend(parameter.device.type for parameter in model.parameters())

    threads = [threading.Thread(target=make) for _ in range(4)]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for thread in threads:
            thread.start()
        beside = set()
        while any(thread.is_alive() for thread in threads):
            beside.add(nn.Linear(2, 2).weight.device.type)
    finally:
        sys.setswitchinterval(before)
    assert set(made) == {"meta"}
    assert beside == {"cpu"}
    assert nn.Linear(2, 2).weight.device.type == "cpu"
