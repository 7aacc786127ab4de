"""Tasks in which a model writes programs (HumanEval, MBPP): off unless allowed, and run in a limited child process.

The harness scores them with the metric `code_eval`, which it fetches as a program from the hub and which runs the
model's code with little between it and the machine. Here the harness's own definitions ask for `code_eval` and get
`CodeEval`, which has the same interface and the same figures, and runs every program through `eval.sandbox`.
"""

import hashlib
import math
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from lm_eval.tasks._index import Entry

from eval.sandbox import Outcome, SandboxUnavailable, run_program
from eval.types import EvaluationError

ADAPTED = frozenset(("humaneval", "humaneval_infilling", "mbpp"))  # folders whose tasks score with `code_eval`
UNMARKED = frozenset(("cruxeval",))  # run the model's code inside this very program, and do not say so
_loading = threading.Lock()


def check_allowed(entries: Iterable[Entry], *, is_allowed: bool) -> None:
    """Raises: EvaluationError if one of the tasks would run model-written code without leave, or without limits."""
    for entry in entries:
        folder = _folder(entry)
        if folder not in UNMARKED and not (entry.cfg or {}).get("unsafe_code"):
            continue
        if folder not in ADAPTED:
            raise EvaluationError(
                f"Task {entry.name} runs code that the model writes, by means of its own, without limits."
                " It cannot be run here; humaneval and mbpp can."
            )
        if not is_allowed:
            raise EvaluationError(
                f"Warning: task {entry.name} runs code that the model writes on this machine. It is run in a child"
                " process without network, with limits on time, memory and files, but nobody has read it before."
                " To run it all the same, add --allow-code-execution."
            )


def _folder(entry: Entry) -> str:
    return entry.yaml_path.parent.name if entry.yaml_path else ""


@contextmanager
def own_code_eval() -> Iterator[None]:
    """While task definitions are loaded, `code_eval` is ours; every other metric is loaded as before."""
    import evaluate

    with _loading:
        original = evaluate.load

        def load(path: str, *args: Any, **options: Any) -> Any:
            return CodeEval() if path == "code_eval" else original(path, *args, **options)

        evaluate.load = load
        try:
            yield
        finally:
            evaluate.load = original


class CodeEval:
    """The metric `code_eval`: programs and their tests in, the share that passes out."""

    def __init__(self, run: Callable[[str], Outcome] = run_program) -> None:
        self._run = run
        self._known: dict[str, Outcome] = {}  # a model writes one program many times

    def compute(
        self, *, references: Sequence[str], predictions: Sequence[Sequence[str]], k: Sequence[int] = (1, 10, 100)
    ) -> tuple[dict[str, float], list[list[Outcome]]]:
        """({"pass@k": mean over the tasks}, outcomes of each task's programs); `references` are tests as source.

        A k for which some task has fewer programs is left out.
        Raises: EvaluationError where programs cannot be run.
        """
        outcomes = [
            [self._outcome(f"{program}\n{tests}") for program in programs]
            for tests, programs in zip(references, predictions, strict=True)
        ]
        counts = [(len(row), sum(outcome.passed for outcome in row)) for row in outcomes]
        scores = {
            f"pass@{n}": math.fsum(pass_at_k(total, right, n) for total, right in counts) / len(counts)
            for n in k if all(total >= n for total, _ in counts)
        }
        return scores, outcomes

    def _outcome(self, source: str) -> Outcome:
        key = hashlib.sha256(source.encode("utf-8", errors="surrogatepass")).hexdigest()
        if key not in self._known:
            try:
                self._known[key] = self._run(source)
            except SandboxUnavailable as error:
                raise EvaluationError(str(error)) from error
        return self._known[key]


def pass_at_k(n: int, n_right: int, k: int) -> float:
    """Probability that one of k programs drawn from n, of which n_right pass, passes.

    Unbiased: 1 - C(n - n_right, k) / C(n, k). Raises: ValueError unless 0 <= n_right <= n and 1 <= k <= n.
    Source: Chen et al. 2021, "Evaluating Large Language Models Trained on Code", equation 1.
    """
    if not 0 <= n_right <= n or not 1 <= k <= n:
        raise ValueError(f"{n_right} right of {n} programs, {k} drawn: that cannot be.")
    return 1.0 - math.comb(n - n_right, k) / math.comb(n, k)
