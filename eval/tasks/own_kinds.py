"""The kinds of tasks that a person's own data can be: what each asks, and how its answers are scored.

Each is a task of lm-evaluation-harness whose data, prompts and scores are these instead of a configuration's, so that
few-shot examples, chat templates and files of results are the harness's own.
"""

import importlib.metadata
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import datasets
import numpy as np
from lm_eval.api.metrics import mean
from lm_eval.api.task import ConfigurableTask

from eval.metrics.bleu.score import NEEDS, bleu, bleu_counts, bleu_of_counts, tokenizers
from eval.metrics.chrf.score import chrf, chrf_counts, chrf_of_counts
from eval.metrics.classification.score import class_counts, macro_f1_of_counts, mcc_of_counts
from eval.metrics.diversity.score import distinct, repeated, words_of
from eval.metrics.exact_match.score import exact_match_scores
from eval.metrics.perplexity.score import count_words
from eval.metrics.rouge.score import rouge_scores
from eval.tasks.corpus import CorpusScore, aggregation_name, bits, perplexity, ratio, share_rows
from eval.tasks.own_docs import Docs
from eval.tasks.own_file import TaskFile
from eval.types import EvaluationError

Scores = Mapping[str, tuple[Callable[[Sequence[Any]], float], bool]]  # metric -> (of all samples, higher is better)
CountTokens = Callable[[Sequence[str]], Sequence[int]]
UNSPACED = ("zh", "ja", "th", "lo", "km", "my")  # languages without spaces between words


class OwnTask(ConfigurableTask):
    """What all kinds share."""

    output_type: ClassVar[str]
    choices_are: ClassVar[str | None] = None  # what the harness calls the field that a target counts in
    version: ClassVar[float] = 1.0  # of prompts and scores of this kind

    def __init__(self, file: TaskFile, docs: Docs, count_tokens: CountTokens | None) -> None:
        self.file, self._docs, self._count_tokens = file, docs, count_tokens
        self.dataset = {"test": datasets.Dataset.from_list(docs.samples)}
        if docs.examples:
            self.dataset["examples"] = datasets.Dataset.from_list(docs.examples)
        super().__init__(config=self._own_config())
        scores = self.scores()
        self._aggregation_list = {metric: aggregate for metric, (aggregate, _) in scores.items()}
        self._higher_is_better = {metric: is_higher for metric, (_, is_higher) in scores.items()}
        self.config.metric_list = [
            {"metric": name, "aggregation": aggregation_name(aggregate), "higher_is_better": is_higher}
            for name, (aggregate, is_higher) in scores.items()
        ]

    def scores(self) -> Scores:
        """The metrics."""
        raise NotImplementedError

    def metadata(self) -> dict[str, Any]:
        """What a reader of the results needs besides, in plain values."""
        return {}

    def generation(self) -> dict[str, Any] | None:
        """How text is generated, as the harness says it."""
        return None

    def download(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: the rows are there."""

    def set_config(self, key: str, value: Any, update: bool = False) -> None:
        """Raises: EvaluationError for more examples than there are."""
        n_there = len(self._docs.examples) or len(self._docs.samples) - 1
        if key == "num_fewshot" and value > n_there:
            raise EvaluationError(f"{self.file.name}: {value} shots need as many examples, but there are {n_there}.")
        super().set_config(key, value, update)

    # The harness would render these fields as Jinja templates, outside any sandbox; here they are values.
    def doc_to_text(self, doc: Mapping[str, Any], doc_to_text: Any = None) -> str:
        """The prompt."""
        return str(doc["prompt"])

    def doc_to_target(self, doc: Mapping[str, Any], doc_to_target: Any = None) -> Any:
        """The right answer: a text, several, or the number of a choice."""
        return doc["target"]

    def doc_to_choice(self, doc: Mapping[str, Any], doc_to_choice: Any = None) -> list[str]:
        """What can be answered."""
        return list(doc["choices"])

    def _own_config(self) -> dict[str, Any]:
        prompt = self._docs.prompt
        shots = self.file.shots if self.file.shots is not None else len(self._docs.examples) or None
        # A space parts question and answer, unless the prompt ends in one, or in a sign that needs none.
        delimiter = " " if prompt[-1:].isascii() and not prompt[-1:].isspace() else ""
        return {
            "task": self.file.name,
            "output_type": self.output_type,
            "test_split": "test",
            "fewshot_split": "examples" if self._docs.examples else "test",
            "fewshot_config": {"sampler": "first_n" if self._docs.examples else "default"},
            "num_fewshot": shots,
            "doc_to_text": prompt,
            "doc_to_target": "target",
            "doc_to_choice": self.choices_are,
            "target_delimiter": delimiter,
            "metric_list": [],
            "generation_kwargs": self.generation(),
            "metadata": {
                "version": self.version, "kind": self.file.kind, "language": self.file.language,
                "data": self.file.data, "n_dropped": len(self._docs.dropped),
                "dropped": [str(row) for row in self._docs.dropped[:10]], **self.metadata(),
            },
        }


class Perplexity(OwnTask):
    """How likely is the text?"""

    output_type = "loglikelihood_rolling"

    def scores(self) -> Scores:
        """Perplexity of each token, word and byte, and bits per byte."""
        found: dict[str, tuple[Callable[[Sequence[Any]], float], bool]] = {}
        if self._count_tokens is not None:
            found["token_perplexity"] = CorpusScore(perplexity), False
        if self.file.language.split("-")[0] not in UNSPACED:
            found["word_perplexity"] = CorpusScore(perplexity), False
        found["byte_perplexity"] = CorpusScore(perplexity), False
        found["bits_per_byte"] = CorpusScore(bits), False
        return found

    def process_results(self, doc: Mapping[str, Any], results: Sequence[float]) -> dict[str, Any]:
        """Log-likelihood in nats, and what it is divided by."""
        text = doc["target"]
        counts = {"word_perplexity": count_words(text)}
        counts |= dict.fromkeys(("byte_perplexity", "bits_per_byte"), len(text.encode("utf-8")))
        if self._count_tokens is not None:
            counts["token_perplexity"] = self._count_tokens([text])[0]
        return {metric: (results[0], counts[metric]) for metric in self._aggregation_list}

    def set_config(self, key: str, value: Any, update: bool = False) -> None:
        """A text has no examples before it, whatever is asked of the other tasks."""
        super().set_config(key, 0 if key == "num_fewshot" else value, update)


class _Generated(OwnTask):
    output_type = "generate_until"
    default_tokens: ClassVar[int]
    default_stop: ClassVar[tuple[str, ...]]

    def generation(self) -> dict[str, Any]:
        """Greedy, so that it can be repeated."""
        return {
            "until": list(self.file.stop or self.default_stop),
            "max_gen_toks": self.file.max_new_tokens or self.default_tokens,
            "do_sample": False,
        }


class Generation(_Generated):
    """Translations, summaries: text that is compared with references."""

    default_tokens, default_stop = 128, ("\n\n",)

    def scores(self) -> Scores:
        """BLEU, chrF, ROUGE, and how varied the text is."""
        return {
            "bleu": (CorpusScore(bleu_of_counts), True),
            "chrf": (CorpusScore(chrf_of_counts), True),
            **dict.fromkeys(("rouge1", "rouge2", "rougeL", "rougeLsum"), (mean, True)),
            "distinct_1": (_distinct_1, True),
            "distinct_2": (_distinct_2, True),
            "repeated_4": (CorpusScore(ratio, share_rows), False),
        }

    def process_results(self, doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, Any]:
        """Counts of BLEU and chrF, whose sums make the scores; ROUGE; the text itself for its variety."""
        text, references = results[0].strip(), [list(doc["target"])]
        share = repeated([words_of(text)], 4)
        return {
            "bleu": bleu_counts([text], references, tokenize=_tokenizer(self.file.language))[0].tolist(),
            "chrf": chrf_counts([text], references)[0].tolist(),
            **rouge_scores([text], references)[0],
            "distinct_1": text,
            "distinct_2": text,
            "repeated_4": None if np.isnan(share) else share,
        }

    def metadata(self) -> dict[str, Any]:
        """What lets others compute the same."""
        targets = sorted((list(doc["target"]) for doc in self._docs.samples), key=len)
        ends = [targets[0], targets[-1]]  # the signatures say whether all have equally many references
        tokenize = _tokenizer(self.file.language)
        return {"signatures": {
            "bleu": bleu(["", ""], ends, tokenize=tokenize)["signature"],
            "chrf": chrf(["", ""], ends)["signature"],
            "rouge": f"rouge-score|stemmer:no|wide:words|version:{importlib.metadata.version('rouge-score')}",
        }}


class ExactMatch(_Generated):
    """Short answers that are right or wrong: the first line that the model writes."""

    # Many models begin with a line end, so that a single one must not stop them.
    default_tokens, default_stop = 32, ("\n\n",)

    def scores(self) -> Scores:
        """Exact match and F1 as for SQuAD, and whether the answers differ."""
        return {"exact_match": (mean, True), "f1": (mean, True), "distinct_1": (_distinct_1, True)}

    def process_results(self, doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, Any]:
        """The better of the references counts."""
        text = next((line.strip() for line in results[0].splitlines() if line.strip()), "")
        return {**exact_match_scores([text], [list(doc["target"])])[0], "distinct_1": text}


class MultipleChoice(OwnTask):
    """Which of the sample's own choices does the model hold most likely?"""

    output_type, choices_are = "multiple_choice", "choices"

    def scores(self) -> Scores:
        """Accuracy; also by log-likelihood over length, since a long choice is less likely for its length alone."""
        return {"acc": (mean, True)} | ({} if self._docs.are_letters else {"acc_norm": (mean, True)})

    def doc_to_choice(self, doc: Mapping[str, Any], doc_to_choice: Any = None) -> list[str]:
        """The letters if the prompt lists the choices, else the choices."""
        choices = list(doc["choices"])
        return [chr(ord("A") + number) for number in range(len(choices))] if self._docs.are_letters else choices

    def process_results(self, doc: Mapping[str, Any], results: Sequence[tuple[float, bool]]) -> dict[str, Any]:
        """Right or wrong, both ways; length in characters, as in the harness."""
        logprobs = np.array([value for value, _ in results])
        lengths = np.array([len(choice) for choice in self.doc_to_choice(doc)])
        guesses = {"acc": np.argmax(logprobs), "acc_norm": np.argmax(logprobs / lengths)}
        return {metric: float(guesses[metric] == doc["target"]) for metric in self._aggregation_list}


class Classification(OwnTask):
    """Which of the labels, the same for all samples, does the model hold most likely?"""

    output_type, choices_are = "multiple_choice", "labels"

    def scores(self) -> Scores:
        """Accuracy, macro-F1, Matthews' correlation."""
        return {
            "acc": (mean, True),
            "macro_f1": (CorpusScore(macro_f1_of_counts, self._rows), True),
            "mcc": (CorpusScore(mcc_of_counts, self._rows), True),
        }

    def doc_to_choice(self, doc: Mapping[str, Any], doc_to_choice: Any = None) -> list[str]:
        """All labels."""
        return list(self._docs.labels)

    def process_results(self, doc: Mapping[str, Any], results: Sequence[tuple[float, bool]]) -> dict[str, Any]:
        """Numbers of the true and the chosen label."""
        pair = doc["target"], int(np.argmax([value for value, _ in results]))
        return {"acc": float(pair[0] == pair[1]), "macro_f1": pair, "mcc": pair}

    def metadata(self) -> dict[str, Any]:
        """The labels, in the order of their numbers."""
        return {"labels": list(self._docs.labels)}

    def _rows(self, pairs: Sequence[tuple[int, int]]) -> Any:
        true, chosen = zip(*pairs, strict=True)
        return class_counts(chosen, true, len(self._docs.labels))


def _distinct_1(texts: Sequence[str]) -> float:
    return distinct([words_of(text) for text in texts], 1)


def _distinct_2(texts: Sequence[str]) -> float:
    return distinct([words_of(text) for text in texts], 2)


def _tokenizer(language: str) -> str:
    """BLEU's, for the language of the references."""
    code = language.split("-")[0]
    name = {"zh": "zh", "ja": "ja-mecab", "ko": "ko-mecab"}.get(code, "char" if code in UNSPACED else "13a")
    if name not in tokenizers():
        raise EvaluationError(f"BLEU in {language} needs {NEEDS[name]}: pip install 'sacrebleu[{code}]'.")
    return name
