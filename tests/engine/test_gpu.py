"""The same code on a GPU (make test-gpu)."""

import pytest
import torch

from llm_app.config import ModelConfig, Settings
from llm_app.engine.host import Host
from tests import tiny
from tests.engine.test_decoding import generate, prompts
from tests.running import GREEDY, ids_of

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_greedy_decoding_on_the_gpu_equals_generate_on_the_cpu(
    family: str, request: pytest.FixtureRequest, settings: Settings
) -> None:
    folder = request.getfixturevalue(f"tiny_{family}")
    host = Host(settings)
    for _ in host.load(ModelConfig(str(folder), precision="fp32", device="cuda")):
        pass
    assert host.loaded.device.type == "cuda" and host.loaded.is_batchable
    for prompt in prompts(6):
        assert ids_of(host.stream(prompt, GREEDY)) == generate(folder, prompt)
    host.unload()


@pytest.mark.parametrize("precision", ["bf16", "int8", "nf4", "fp4", "gguf"])
def test_every_precision_of_the_embedded_model_answers_on_the_gpu(precision: str, settings: Settings) -> None:
    host, free = Host(settings), torch.cuda.mem_get_info()[0]
    for _ in host.load(ModelConfig("embedded", precision=precision, device="cuda")):
        pass
    assert ids_of(host.stream(prompts(1)[0], GREEDY))
    host.unload()
    assert free - torch.cuda.mem_get_info()[0] < 200e6, "unload gives the memory back"
