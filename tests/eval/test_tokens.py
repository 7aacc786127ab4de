"""Text to tokens, against the reference harness's own encoding of pairs."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from lm_eval.models.huggingface import HFLM
from tokenizers import Tokenizer, processors
from transformers import PreTrainedTokenizerFast

from eval.types import Unscored
from llm_app.config import ModelConfig, Settings
from llm_app.engine.encoding import Encoding
from llm_app.engine.host import Host
from llm_app.jobs.answers import EngineModel
from tests.tiny import make_tokenizer

PAIRS = [
    ("Question: one", " two"),
    ("ends in spaces   ", "two three"),
    ("ends in a line\n", "two"),
    ("joined wit", "hout a space"),
    ("", " no context"),
    ("", "<|endoftext|> its own"),
    ("<|endoftext|>begins with it", " two"),
    ("Frage: größer? 北京", " 上海 🙂"),
]


@pytest.fixture(scope="module", params=["plain", "adds a first token"])
def both(request: pytest.FixtureRequest, tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory
         ) -> Iterator[tuple[EngineModel, HFLM]]:
    """Our model and the harness's, with a tokenizer that adds nothing, and with one that puts a token before all."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    shutil.copytree(tiny_llama, folder)
    if request.param != "plain":
        made = Tokenizer.from_str(make_tokenizer().backend_tokenizer.to_str())
        first = made.token_to_id("<|endoftext|>")
        made.post_processor = processors.TemplateProcessing(
            single="<|endoftext|> $A", special_tokens=[("<|endoftext|>", first)]
        )
        PreTrainedTokenizerFast(
            tokenizer_object=made, bos_token="<|endoftext|>", eos_token="<|im_end|>", pad_token="<|endoftext|>"
        ).save_pretrained(folder)
    host = Host(Settings(home=tmp_path_factory.mktemp("home")))
    for _ in host.load(ModelConfig(str(folder), precision="fp32")):
        pass
    yield EngineModel(host), HFLM(pretrained=str(folder), dtype="float32", batch_size=1, device="cpu")
    host.unload()


def test_pairs_are_encoded_as_the_reference_harness_does(both: tuple[EngineModel, HFLM]) -> None:
    _, theirs = both
    seen: list[tuple[list[int], list[int]]] = []
    theirs._loglikelihood_tokens = lambda requests, **_: seen.extend(r[1:] for r in requests)  # type: ignore[method-assign]
    from lm_eval.api.instance import Instance

    theirs.loglikelihood([Instance("loglikelihood", {}, pair, 0) for pair in PAIRS])
    ours = [(list(a), list(b)) for a, b in Encoding(theirs.tokenizer).pairs(PAIRS)]
    assert ours == [(list(a), list(b)) for a, b in seen]


def test_E11_nothing_to_score_is_said_and_the_others_are_scored(both: tuple[EngineModel, HFLM]) -> None:
    answers = dict(both[0].loglikelihoods([("a", " b"), ("a", ""), ("c", " d")], {0, 1, 2}))
    assert answers[1] == Unscored("the text to be scored is empty")
    assert isinstance(answers[0], tuple) and isinstance(answers[2], tuple)
