"""The embedded model's weights, measured by lm-evaluation-harness through the server and directly."""

from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from lm_eval import simple_evaluate
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

from llm_app.engine import catalog
from tests.api.test_harness import through_the_api
from tests.live import running

N_ROWS = 50


@pytest.mark.verify
@pytest.mark.timeout(900)
def test_fifty_sst2_rows_score_the_same_through_the_server_and_directly(hub_data: Path, tmp_path: Path) -> None:
    folder, path = tmp_path / "embedded", catalog.embedded_model()
    AutoModelForCausalLM.from_pretrained(
        path.parent, gguf_file=path.name, dtype=torch.float32, quantization_config=GgufConfig(dequantize=True)
    ).save_pretrained(folder)
    AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name).save_pretrained(folder)
    definition = files("lm_eval") / "tasks" / "glue" / "sst2" / "default.yaml"
    task = yaml.safe_load(definition.read_text()) | {"dataset_path": str(hub_data / "nyu-mll" / "glue")}

    def evaluate(model: Any) -> tuple[float, list[float]]:
        tasks = TaskManager(include_defaults=False)
        result = simple_evaluate(model=model, tasks=[task], limit=N_ROWS, bootstrap_iters=0, task_manager=tasks)
        assert result is not None
        samples = [float(value[0][0]) for sample in result["samples"]["sst2"] for value in sample["resps"]]
        return result["results"]["sst2"]["acc,none"], samples

    expected = evaluate(HFLM(pretrained=str(folder), dtype="float32", device="cpu", batch_size=8))
    with running(tmp_path / "home", folder) as live:
        found = evaluate(through_the_api(live, folder, num_concurrent=4))
    print(f"sst2, {N_ROWS} rows: {found[0]} through the server, {expected[0]} directly")
    assert found[0] == expected[0]
    assert found[1] == pytest.approx(expected[1], abs=5e-3)
