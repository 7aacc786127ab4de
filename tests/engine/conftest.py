"""What tests of the engine share."""

import pytest
import torch

from llm_app.engine import batch


@pytest.fixture
def n_read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Tokens of prompts that went through a batch's passes, pass by pass."""
    counted: list[int] = []
    forward = batch.forward

    def counting(model: object, cache: object, tokens: list[list[int]], *rest: object) -> torch.Tensor:
        is_step = len(rest) == 1
        counted.extend([] if is_step else [sum(map(len, tokens))])
        return forward(model, cache, tokens, *rest)

    monkeypatch.setattr(batch, "forward", counting)
    return counted
