"""Kinds of tasks whose prompts are complete: what a model was trained to answer, asked just as it was trained.

The prompt of a row reaches the model as it is, special tokens of a chat template included: no examples stand before
it, and no template is put around it. `reply` lets the model write; `reply_perplexity` asks how likely the reference is.
"""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.metrics import mean

from eval.metrics.rouge.score import Words, rouge_scores
from eval.tasks.corpus import CorpusScore, bits, perplexity
from eval.tasks.own_kinds import OwnTask, Scores

SHORT = 30  # words: where the median reference is longer, hardly any answer matches it exactly
DEFAULT_TOKENS = 256


class _Complete(OwnTask):
    """What both kinds share: prompts that nothing is added to."""

    def fewshot_context(self, doc: Mapping[str, Any], *args: Any, **kwargs: Any) -> str:
        """The prompt, whatever is asked of other tasks."""
        return self.doc_to_text(doc)

    def set_config(self, key: str, value: Any, update: bool = False) -> None:
        """Examples would stand where training had none."""
        super().set_config(key, 0 if key == "num_fewshot" else value, update)


class Reply(_Complete):
    """The model answers; it ends by itself, as it was trained to."""

    output_type = "generate_until"

    def scores(self) -> Scores:
        """Exact match and ROUGE; first, and so compared, the one that suits the length of the references.

        The references alone decide, so that it is chosen before any answer is seen.
        """
        rouge = dict.fromkeys(("rougeL", "rouge1", "rouge2"), (mean, True))
        exact = {"exact_match": (mean, True)}
        count = Words().tokenize
        lengths = [min(len(count(text)) for text in doc["target"]) for doc in self._docs.samples]
        return exact | rouge if median(lengths) <= SHORT else rouge | exact

    def process_results(self, doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, Any]:
        """Exact: equal to a reference but for white space at the ends; the best reference counts.

        Of references that are all one line, the first line with text is the answer: who was not trained to stop there
        is not marked down for it.
        """
        text, references = results[0].strip(), [reference.strip() for reference in doc["target"]]
        is_line = all("\n" not in reference for reference in references)
        answer = text.partition("\n")[0].rstrip() if is_line else text
        rouge = rouge_scores([text], [references])[0]
        return {
            "exact_match": float(answer in references),
            "rougeL": rouge["rougeL"], "rouge1": rouge["rouge1"], "rouge2": rouge["rouge2"],
        }

    def generation(self) -> dict[str, Any]:
        """Greedy, so that it can be repeated."""
        tokens = self.file.max_new_tokens or DEFAULT_TOKENS
        return {"until": list(self.file.stop or ()), "max_gen_toks": tokens, "do_sample": False}


class ReplyPerplexity(_Complete):
    """How likely is the reference after its prompt? What a model was trained to lower."""

    output_type = "loglikelihood"

    def scores(self) -> Scores:
        """Perplexity of each token, word and byte, and bits per byte, of the references given their prompts."""
        found: dict[str, tuple[Any, bool]] = {}
        if self._count_tokens is not None:
            found["token_perplexity"] = CorpusScore(perplexity), False
        found["byte_perplexity"] = CorpusScore(perplexity), False
        found["bits_per_byte"] = CorpusScore(bits), False
        return found

    def construct_requests(self, doc: Mapping[str, Any], ctx: str, **kwargs: Any) -> Instance:
        """The reference, and what ends it, after the prompt."""
        kwargs = {key: value for key, value in kwargs.items() if key not in ("apply_chat_template", "chat_template")}
        return Instance("loglikelihood", doc=dict(doc), arguments=(ctx, _continuation(doc)), idx=0, **kwargs)

    def process_results(self, doc: Mapping[str, Any], results: Sequence[tuple[float, bool]]) -> dict[str, Any]:
        """Log-likelihood in nats, and what it is divided by."""
        (value, _), text = results[0], _continuation(doc)
        counts = dict.fromkeys(("byte_perplexity", "bits_per_byte"), len(text.encode("utf-8")))
        if self._count_tokens is not None:
            before, whole = self._count_tokens([doc["prompt"], doc["prompt"] + text])
            counts["token_perplexity"] = whole - before
        return {metric: (value, counts[metric]) for metric in self._aggregation_list}


def _continuation(doc: Mapping[str, Any]) -> str:
    return str(doc["target"][0] + doc["end"])
