"""What a benchmark asks, kept in its run folder: with it a run is read without its data sets, on any machine."""

import json
from collections.abc import Iterator
from typing import Any

from lm_eval.utils import handle_non_serializable, hash_string

from eval.compare.comparable import passages
from eval.compare.run import Answered, digest_of
from eval.results import finite
from eval.tasks.corpus import aggregation_name
from eval.tasks.harness import HarnessTask, Suite
from llm_app.jobs.folder import RunFolder
from llm_app.jobs.kept import ASKED


def write_asked(folder: RunFolder, suite: Suite) -> None:
    """A line for each sample of each task: data, target, and the requests that follow from them."""
    folder.write(ASKED, "".join(_lines(suite)))


def metrics_of(task: HarnessTask) -> list[dict[str, Any]]:
    """Metrics in the order of the task: name, aggregation by the harness's name or else by its own, direction."""
    higher = task.harness.higher_is_better()
    return [
        {
            "name": name,
            "aggregation": aggregation_name(function),
            "higher_is_better": bool(higher.get(name, True)),
        }
        for name, function in task.harness.aggregation().items()
    ]


def shares_passages(task: HarnessTask) -> bool:
    """Whether several samples are about one text, so that they are not independent."""
    docs = task.harness.eval_docs
    asked = [Answered(sample.id, "", docs[sample.id], "", (), (), {}) for sample in task.samples]
    return passages(asked) is not None


def _lines(suite: Suite) -> Iterator[str]:
    for name, task in suite.tasks.items():
        for sample in task.samples:
            doc = task.harness.eval_docs[sample.id]
            text = json.dumps(doc, indent=2, default=handle_non_serializable, ensure_ascii=False)
            target = str(task.harness.doc_to_target(doc)) if sample.problem is None else ""
            prompt = sample.requests[0].text if sample.requests else ""
            requests: list[list[str | None]] = []
            for number, request in enumerate(sample.requests):
                is_shared = number > 0 and request.text == sample.requests[number - 1].text
                requests.append([None if is_shared else request.text, request.continuation])
            row = {
                "task": name, "sample": sample.id, "doc": doc, "target": target, "requests": requests,
                "digest": digest_of(hash_string(text), hash_string(prompt), hash_string(target)),
            }
            yield json.dumps(finite(row), default=handle_non_serializable, ensure_ascii=False, allow_nan=False) + "\n"
