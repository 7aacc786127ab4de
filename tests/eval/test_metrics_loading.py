"""Every metric loads by its folder through the `evaluate` package, without network and without this project."""

import json
import os
import subprocess
import sys
from pathlib import Path

METRICS = Path(__file__).parent.parent.parent / "eval" / "metrics"
LOAD = """
import json, math, socket, sys

def refuse(*arguments):
    raise AssertionError(f"a metric tried to reach {arguments[1]}")

socket.socket.connect = socket.socket.connect_ex = refuse
import evaluate

print(json.dumps({
    name: evaluate.load(f"{sys.argv[1]}/{name}").compute(**inputs)
    for name, inputs in json.loads(sys.argv[2]).items()
}))
"""
INPUTS = {
    "bleu": {"predictions": ["a cat sat on it"], "references": [["a cat sat on it", "a dog"]], "tokenize": "zh"},
    "chrf": {"predictions": ["a cat"], "references": ["a cat"], "word_order": 2},
    "rouge": {"predictions": ["a cat"], "references": ["a cat"], "use_stemmer": True},
    "exact_match": {"predictions": ["a cat"], "references": [["cat", "dog"]]},
    "classification": {"predictions": ["yes", "no"], "references": ["yes", "no"]},
    "seqeval": {"predictions": [["B-PER", "O"]], "references": [["B-PER", "O"]], "scheme": "IOB2"},
    "sts": {"predictions": [1.0, 2.0], "references": [1.0, 3.0]},
    "diversity": {"predictions": ["a b"]},
    "perplexity": {"loglikelihoods": [-2.0], "n_tokens": [2], "texts": ["a b"]},
}


def test_E19_every_metric_loads_and_computes_offline_and_alone(tmp_path):
    environment = {**os.environ, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1", "HF_EVALUATE_OFFLINE": "1"}
    command = [sys.executable, "-c", LOAD, str(METRICS), json.dumps(INPUTS)]
    # Another folder: the metrics must not need this project on the path.
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert {folder.parent.name for folder in METRICS.glob("*/score.py")} == set(found)
    assert round(found["bleu"]["score"], 9) == round(found["chrf"]["score"], 9) == 100
    best = [found["rouge"]["rougeLsum"], found["exact_match"]["f1"], found["seqeval"]["f1"], found["sts"]["pearson"]]
    assert [round(value, 9) for value in best] == [1, 1, 1, 1]
    assert found["classification"]["accuracy"] == found["diversity"]["distinct_1"] == 1
    assert found["perplexity"]["bits_per_byte"] > 0


def test_our_own_code_computes_metrics_without_waiting_for_evaluate():
    names = [folder.parent.name for folder in METRICS.glob("*/score.py")]
    lines = [f"import eval.metrics.{name}.score as {name}" for name in names]
    program = "; ".join(["import sys", *lines, "print({'evaluate', 'torch', 'datasets'} & set(sys.modules))"])
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=METRICS.parent.parent, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == "set()", done.stderr
