"""Our scores of the embedded model in fp32 against lm_eval.simple_evaluate on the same weights: every task with data.

Whole tasks where that takes less than ten minutes on two cores, else as many samples as `CASES` says.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from lm_eval.models.huggingface import HFLM
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

from llm_app.config import ModelConfig, Settings
from llm_app.engine import catalog
from llm_app.engine.host import Host
from tests.eval.test_harness import compare

pytestmark = pytest.mark.verify

# task: (samples without examples, samples after five examples); 0 where the task takes no examples
CASES = {
    "sst2": (150, 25), "cola": (150, 25), "mrpc": (80, 20), "qqp": (80, 20), "mnli": (80, 15), "qnli": (60, 15),
    "wnli": (36, 15), "arc_easy": (80, 15), "arc_challenge": (80, 15), "hellaswag": (30, 6), "piqa": (60, 12),
    "boolq": (30, 5), "lambada_openai": (80, 20), "mmlu_abstract_algebra": (50, 12), "cmmlu_agronomy": (40, 8),
    "wikitext": (6, 0), "gsm8k": (50, 50),
}  # fmt: skip


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    host = Host(Settings(home=tmp_path_factory.mktemp("home")))
    for _ in host.load(ModelConfig("embedded", precision="fp32")):
        pass
    yield host
    host.unload()


@pytest.fixture(scope="module")
def reference() -> HFLM:
    path = catalog.embedded_model()
    model = AutoModelForCausalLM.from_pretrained(
        path.parent, gguf_file=path.name, dtype=torch.float32, quantization_config=GgufConfig(dequantize=True)
    )
    tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    return HFLM(pretrained=model.eval(), tokenizer=tokenizer, device="cpu", batch_size=4, backend="causal")


@pytest.mark.parametrize(
    ("name", "n_shots", "limit"),
    [(name, n, limit) for name, both in CASES.items() for n, limit in zip((0, 5), both, strict=True) if limit],
)
def test_the_embedded_models_scores_equal_the_reference_harness(
    name: str, n_shots: int, limit: int, host: Host, reference: HFLM, hub_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISABLE_MULTIPROC", "1")
    compare([name], n_shots, limit, host, reference, hub_data)
