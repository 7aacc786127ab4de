"""One text on the command line: the probability of each label, and which words decided."""

import argparse
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

from llm_app.classify.config import EXPLANATIONS, LEAVE_ONE_OUT
from llm_app.classify.labels import threshold_of
from llm_app.classify.types import Item, Prediction, answer
from llm_app.errors import UserError
from llm_app.spoken import say

if TYPE_CHECKING:
    from llm_app.classify.explain import Span
    from llm_app.classify.types import Classifier

N_WORDS = 8  # that decided, as they are shown


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Those that only a text has."""
    parser.add_argument("text", nargs="?", metavar="TEXT", help="A text to classify; for a table, --input.")
    parser.add_argument("--pair", metavar="TEXT", help="The second text of a pair.")
    parser.add_argument(
        "--explain", choices=EXPLANATIONS,
        help="How it is found which words decided: without each of them in turn (default), or, of an encoder only, by"
             " gradient times input in one pass.",
    )  # fmt: skip


def run(classifier: "Classifier", options: argparse.Namespace) -> int:
    """Classify the text; gives the exit code. Raises: UserError saying why it cannot be."""
    from llm_app.classify.explain import explained

    threshold = threshold_of(options.threshold, classifier.kind, classifier.labels)
    item = Item(options.text, options.pair)
    started = time.perf_counter()
    (found,) = classifier.predict([item])
    seconds = time.perf_counter() - started
    if not isinstance(found, Prediction):
        raise UserError(found.reason, param="text")
    said = answer(classifier.kind, classifier.labels, found.scores, threshold)
    lines = [said] if classifier.kind == "regression" else [
        f"{label:<{max(map(len, classifier.labels))}}  {score:.4f}  {'#' * round(40 * score)}".rstrip()
        for label, score in sorted(zip(classifier.labels, found.scores, strict=True), key=lambda one: -one[1])
    ]
    print(*lines, sep="\n", flush=True)
    say(f"{1000 * seconds:.0f} ms" + (f", {found.n_cut:,} tokens cut" if found.n_cut else ""))
    how = options.explain or LEAVE_ONE_OUT
    spans = sorted(explained(classifier, item, how).spans, key=lambda span: -abs(span.weight))
    say(f"what decided ({_measure(how)}): {_words(item, spans) or 'nothing'}")
    if options.json is not None:
        write(options.json, json.dumps({
            "label": said, "probabilities": dict(zip(classifier.labels, found.scores, strict=True)),
            "n_cut": found.n_cut, "milliseconds": 1000 * seconds, "explained_by": how,
            "words": [
                {"start": span.start, "end": span.end, "pair": span.is_pair, "weight": span.weight} for span in spans
            ],
        }, ensure_ascii=False, indent=2) + "\n")  # fmt: skip
    return 0


def write(path: str, text: str) -> None:
    """Write a file, and say where it is."""
    from llm_app.jobs.folder import write_whole

    say(f"written to {write_whole(Path(path).expanduser(), text)}")


def _measure(how: str) -> str:
    return "change of the log-odds" if how == LEAVE_ONE_OUT else "gradient times input of the log-odds"


def _words(item: Item, spans: "list[Span]") -> str:
    texts = [((item.pair or "") if span.is_pair else item.text)[span.start : span.end] for span in spans]
    return ", ".join(f"{word} {span.weight:+.2f}" for word, span in zip(texts[:N_WORDS], spans, strict=False))
