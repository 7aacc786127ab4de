"""Label likelihoods against lm-evaluation-harness's own backend, and what is made of them."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

from eval.tasks.harness import TaskOptions, load_tasks
from llm_app.classify.config import ZeroShotConfig
from llm_app.classify.prompt import Prompt, choose_examples
from llm_app.classify.types import Item, Prediction, Unclassified
from llm_app.classify.zero_shot import Likelihoods, ZeroShot
from llm_app.config import ModelConfig, Settings
from llm_app.engine import catalog
from llm_app.engine.host import Host
from llm_app.errors import UserError

# The template of the harness's sst2, in our writing.
SST2 = ZeroShotConfig(template="{text}\nQuestion: Is this sentence positive or negative?\nAnswer:")
LABELS = ("negative", "positive")
TEXTS = ["the quick brown fox jumps", "", "what is the answer", "lazy dog and then another thing", "ünïcode 你好 text"]


@pytest.fixture(scope="module")
def host(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    host = Host(Settings(home=tmp_path_factory.mktemp("home")))
    for _ in host.load(ModelConfig(str(tiny_llama), precision="fp32")):
        pass
    yield host
    host.unload()


@pytest.fixture(scope="module")
def harness(tiny_llama: Path) -> HFLM:
    model = AutoModelForCausalLM.from_pretrained(tiny_llama, dtype=torch.float32).eval()
    return HFLM(pretrained=model, tokenizer=AutoTokenizer.from_pretrained(tiny_llama), batch_size=1, device="cpu")


def theirs(harness: HFLM, texts: Sequence[str], words: Sequence[str]) -> list[list[float]]:
    """The harness's log-likelihoods of each word after each text."""
    pairs = [(text, f" {word}") for text in texts for word in words]
    asked = [Instance("loglikelihood", {}, pair, number) for number, pair in enumerate(pairs)]  # type: ignore[arg-type]
    values = [value for value, _ in harness.loglikelihood(asked, disable_tqdm=True)]
    return [values[first : first + len(words)] for first in range(0, len(values), len(words))]


def prompts(texts: Sequence[str]) -> list[str]:
    return [f"{text}\nQuestion: Is this sentence positive or negative?\nAnswer:" for text in texts]


def sums(classifier: ZeroShot, texts: Sequence[str]) -> list[tuple[float, ...]]:
    found = [one for one in classifier.likelihoods([Item(text) for text in texts]) if isinstance(one, Likelihoods)]
    return [one.sums for one in sorted(found, key=lambda one: one.index)]


def scores(classifier: ZeroShot, texts: Sequence[str]) -> list[tuple[float, ...]]:
    found = [one for one in classifier.predict([Item(text) for text in texts]) if isinstance(one, Prediction)]
    return [one.scores for one in sorted(found, key=lambda one: one.index)]


def softmax(rows: Sequence[Sequence[float]]) -> np.ndarray:
    values = np.exp(np.array(rows) - np.max(rows, axis=1, keepdims=True))
    return values / values.sum(1, keepdims=True)


@pytest.mark.parametrize("labels", [LABELS, ("bad", "neutral", "so very good that one wants to see it again")])
def test_label_likelihoods_equal_the_harness(host: Host, harness: HFLM, labels: tuple[str, ...]):
    found = sums(ZeroShot(host, labels, SST2), TEXTS)
    assert np.allclose(found, theirs(harness, prompts(TEXTS), labels), atol=1e-4)


def test_probabilities_are_the_likelihoods_made_to_sum_to_one(host: Host, harness: HFLM):
    found = scores(ZeroShot(host, LABELS, SST2), TEXTS)
    assert np.allclose(found, softmax(theirs(harness, prompts(TEXTS), LABELS)), atol=1e-4)


def test_length_takes_the_mean_over_the_tokens_of_a_label(host: Host, harness: HFLM, tiny_llama: Path):
    labels = ("bad", "so very good that one wants to see it again")
    tokenizer = AutoTokenizer.from_pretrained(tiny_llama)
    n = np.array([len(tokenizer(f" {label}")["input_ids"]) for label in labels])
    config = ZeroShotConfig(template=SST2.template, normalisation="length")
    found = scores(ZeroShot(host, labels, config), TEXTS)
    assert np.allclose(found, softmax(np.array(theirs(harness, prompts(TEXTS), labels)) / n), atol=1e-4)


def test_calibration_divides_by_what_texts_without_content_get(host: Host, harness: HFLM):
    """Zhao et al. 2021, section 5: W = diag(p_cf)^-1, p_cf the mean over "N/A", "" and "[MASK]"."""
    free = softmax(theirs(harness, prompts(["N/A", "", "[MASK]"]), LABELS)).mean(0)
    weighed = softmax(theirs(harness, prompts(TEXTS), LABELS)) / free
    config = ZeroShotConfig(template=SST2.template, calibrates=True)
    found = scores(ZeroShot(host, LABELS, config), TEXTS)
    assert np.allclose(found, weighed / weighed.sum(1, keepdims=True), atol=1e-4)


def test_words_stand_for_labels_in_their_order(host: Host, harness: HFLM):
    config = ZeroShotConfig(template=SST2.template, words=("terrible", "great"))
    assert np.allclose(
        sums(ZeroShot(host, LABELS, config), TEXTS), theirs(harness, prompts(TEXTS), ("terrible", "great")), atol=1e-4
    )


def test_examples_stand_before_the_text_with_their_words():
    config = ZeroShotConfig(template="{text} ->", words=("bad", "good"))
    prompt = Prompt(config, LABELS, [(Item("dull"), "negative"), (Item("fun"), "positive")])
    assert prompt.text(Item("so so")) == "dull -> bad\n\nfun -> good\n\nso so ->"


def test_examples_are_taken_in_turn_from_each_label_and_the_seed_decides_which():
    truths = ["a"] * 20 + ["b"] * 20 + ["c", None]
    config = ZeroShotConfig(n_examples=5, seed=3)
    chosen = choose_examples(truths, ("a", "b", "c"), config)
    assert [truths[place] for place in chosen] == ["a", "b", "c", "a", "b"]
    assert chosen == choose_examples(truths, ("a", "b", "c"), config)
    assert chosen != choose_examples(truths, ("a", "b", "c"), ZeroShotConfig(n_examples=5, seed=4))


def test_there_are_no_more_examples_than_rows():
    assert sorted(choose_examples(["a", "b", "a"], ("a", "b"), ZeroShotConfig(n_examples=9))) == [0, 1, 2]


def test_a_text_that_looks_like_the_template_is_not_filled_in():
    assert Prompt(SST2, LABELS).text(Item("say {labels} or {text}")).startswith("say {labels} or {text}\n")


def test_the_second_text_goes_where_the_template_says_else_below_the_first():
    pair = Item("it rains", "it is wet")
    told = ZeroShotConfig(template="{text} => {pair}?")
    assert Prompt(told, ("yes", "no")).text(pair) == "it rains => it is wet?"
    assert Prompt(ZeroShotConfig(template="{text}?"), ("yes", "no")).text(pair) == "it rains\nit is wet?"


@pytest.mark.parametrize(
    ("before", "words"),
    [("Answer:", [" good", "好"]), ("Answer: ", ["good", "好"]), ("答案：", ["good", "好"]), ("感情", ["good", "好"])],
)
def test_a_space_stands_before_a_word_unless_the_script_has_none_or_one_is_there(before: str, words: list[str]):
    assert Prompt(ZeroShotConfig(), ("good", "好")).continuations(before) == words


def test_a_text_that_is_too_long_loses_its_front_and_says_how_much(host: Host, tiny_llama: Path):
    tokenizer = AutoTokenizer.from_pretrained(tiny_llama)
    text = "".join(f"{number} " for number in range(400))
    n_whole = len(tokenizer(prompts([text])[0])["input_ids"])
    (found,) = ZeroShot(host, LABELS, SST2).predict([Item(text)])
    assert isinstance(found, Prediction)
    longest = max(len(tokenizer(f" {label}")["input_ids"]) for label in LABELS)
    # The context holds 512 tokens; the last token of a label is never read.
    assert n_whole - found.n_cut in range(513 - longest - 3, 513 - longest + 1)
    kept = next(start for start in range(len(text)) if len(tokenizer(prompts([text[start:]])[0])["input_ids"])
                <= n_whole - found.n_cut)  # fmt: skip
    assert scores(ZeroShot(host, LABELS, SST2), [text[kept:]])[0] == pytest.approx(found.scores, abs=1e-5)


def test_a_template_that_leaves_no_room_is_told_of_each_row(host: Host):
    config = ZeroShotConfig(template="{text}" + "word " * 2000)
    found = list(ZeroShot(host, LABELS, config).predict([Item("a"), Item("b")]))
    assert [type(one) for one in found] == [Unclassified, Unclassified]
    assert "leave no room for the text" in found[0].reason  # type: ignore[union-attr]


def test_words_that_do_not_match_the_labels_are_refused():
    with pytest.raises(UserError, match="3 label words for 2 labels"):
        Prompt(ZeroShotConfig(words=("a", "b", "c")), LABELS)


def test_another_model_in_its_place_is_noticed(tiny_llama: Path, tiny_qwen2: Path, settings: Settings):
    host = Host(settings)
    for _ in host.load(ModelConfig(str(tiny_llama))):
        pass
    classifier = ZeroShot(host, LABELS, SST2)
    for _ in host.load(ModelConfig(str(tiny_qwen2))):
        pass
    with pytest.raises(UserError, match="Another model was loaded"):
        list(classifier.predict([Item("a")]))
    host.unload()


def test_two_classifiers_that_answer_differently_have_different_identities(host: Host):
    one = ZeroShot(host, LABELS, SST2).identity()
    assert one == ZeroShot(host, LABELS, SST2).identity()
    others = [
        ZeroShot(host, LABELS, ZeroShotConfig()), ZeroShot(host, LABELS[::-1], SST2),
        ZeroShot(host, LABELS, SST2, [(Item("a"), "positive")]),
    ]  # fmt: skip
    assert all(one != other.identity() for other in others)


@pytest.mark.verify
@pytest.mark.timeout(600)
def test_the_embedded_models_sst2_likelihoods_equal_the_harness(hub_data: Path, settings: Settings):
    """Prompts and words as lm_eval's own task writes them, on the same weights in fp32."""
    suite = load_tasks(["sst2"], TaskOptions(0, 24), data=hub_data)
    requests = [request for sample in suite.tasks["sst2"].samples for request in sample.requests]
    path = catalog.embedded_model()
    files = {"pretrained_model_name_or_path": path.parent, "gguf_file": path.name}
    model = AutoModelForCausalLM.from_pretrained(
        **files, dtype=torch.float32, quantization_config=GgufConfig(dequantize=True)
    )
    tokenizer = AutoTokenizer.from_pretrained(**files)
    harness = HFLM(pretrained=model.eval(), tokenizer=tokenizer, batch_size=1, device="cpu")
    asked = [Instance("loglikelihood", {}, (r.text, r.continuation), i) for i, r in enumerate(requests)]  # type: ignore[arg-type]
    expected = [value for value, _ in harness.loglikelihood(asked, disable_tqdm=True)]
    host = Host(settings)
    for _ in host.load(ModelConfig("embedded", precision="fp32")):
        pass
    ending = "\nQuestion: Is this sentence positive or negative?\nAnswer:"
    assert all(request.text.endswith(ending) for request in requests)
    texts = [request.text.removesuffix(ending) for request in requests[::2]]
    found = [value for row in sums(ZeroShot(host, LABELS, SST2), texts) for value in row]
    assert max(abs(a - b) for a, b in zip(found, expected, strict=True)) < 1e-3
    assert not any(map(math.isnan, found))
    host.unload()
