"""The command `train`: what it leaves where, what it says on which stream, how it ends."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from llm_app.cli import main
from llm_app.config import Settings
from llm_app.engine.catalog import list_adapters
from llm_app.flags import flag_of
from llm_app.options import kind_of, options_of
from llm_app.training.config import TrainConfig
from llm_app.votes import VoteBook
from tests.live import wait_for
from tests.test_votes import vote
from tests.tiny import load_plain
from tests.tuning import examples

ROOT = Path(__file__).parent.parent
SMALL = (
    "--max-steps", "4", "--batch-size", "2", "--accumulation", "2", "--max-length", "64", "--rank", "4", "--alpha", "8",
    "--learning-rate", "1e-2", "--precision", "fp32", "--validate-every", "2", "--no-packs", "--targets", "q_proj",
)  # fmt: skip


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PROOFBENCH_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return examples(tmp_path / "data.jsonl")


def test_every_option_of_training_is_a_flag_and_what_is_on_or_off_two(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    text = capsys.readouterr().out
    for item, info in options_of(TrainConfig):
        assert re.search(rf"^  {flag_of(item.name)}\b", text, re.MULTILINE), item.name
        assert (flag_of(f"no_{item.name}") in text) == (kind_of(item, info) is bool), item.name


def test_it_leaves_an_adapter_that_plain_peft_loads_and_says_on_stdout_only_where(
    tiny_llama: Path, data: Path, tmp_path: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from peft import PeftModel

    command = ["train", "--model", str(tiny_llama), "--data", str(data), *SMALL, "--output", str(tmp_path / "out")]
    assert main(command) == 0
    out, err = capsys.readouterr()
    assert out == f"{tmp_path / 'out' / 'adapter'}\n"
    assert "after step 4: validation loss" in err and "4/4 loss" in err and "tokens/s" in err
    tuned = PeftModel.from_pretrained(load_plain(tiny_llama), tmp_path / "out" / "adapter")
    assert tuned.peft_config["default"].target_modules == {"q_proj"}
    assert [entry.name for entry in list_adapters(Settings(home))] == ["tiny-llama-lora-1"]
    assert main(command) == 2  # what lies there stays
    assert "exists already" in capsys.readouterr().err


@pytest.mark.parametrize(("more", "told"), [
    ((), "Name at least one file of examples"),
    (("--data", "missing.jsonl"), "Cannot read .*missing.jsonl"),
    (("--data", "{data}", "--weights", "1", "2"), "--weights takes a number a file: 1, not 2"),
    (("--data", "{data}", "--columns", "prompt"), "--columns takes WHAT=NAME"),
    (("--data", "{data}", "--layout", "alpaka"), "layout must be one of"),
    (("--data", "{data}", "--rank", "0"), "rank must be at least 1"),
    (("--data", "{data}", "--name", "../x"), "A name has at most 64"),
    (("--data", "{data}", "--model", "no-such-folder"), "no-such-folder"),
    (("--resume", "aaaaaaaaaaaa"), "There is no run"),
    (("--resume", "aaaaaaaaaaaa", "--rank", "4", "--data", "x"), "leave out --data, --rank"),
])
def test_what_cannot_be_is_told_in_one_line_with_exit_2(
    more: tuple[str, ...], told: str, tiny_llama: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = () if "--model" in more or "--resume" in more else ("--model", str(tiny_llama))
    assert main(["train", *model, *(part.format(data=data) for part in more)]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1
    assert re.search(told, err)


def test_ctrl_c_saves_what_there_is_and_ends_with_130(tiny_llama: Path, data: Path, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "llm_app", "train", "--model", str(tiny_llama), "--data", str(data), *SMALL[2:],
         "--max-steps", "100000"],
        cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=(log := tmp_path / "log").open("w"),
        env=os.environ | {"PROOFBENCH_HOME": str(tmp_path / "home")},
    )
    wait_for(lambda: " loss " in log.read_text(), 120)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert (Path(out.strip()) / "adapter_model.safetensors").is_file()
    assert re.search(r"stopped after step \d+ of 100000; go on with --resume \w{12}", log.read_text())
    assert "Traceback" not in log.read_text()


def test_the_votes_of_the_chat_tab_are_pairs_to_train_on(
    tiny_llama: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["train", "--model", str(tiny_llama), "--votes", "--objective", "dpo", *SMALL, "--plan"]
    assert main(command) == 2 and "names a winner" in capsys.readouterr().err
    for _ in range(4):
        VoteBook.of(Settings(home)).add(vote("a"))
    assert main(command) == 0 and "pairs" in capsys.readouterr().out
    columns = home.parent / "columns.jsonl"
    columns.write_text("".join(json.dumps({"q": f"say {n}", "yes": "a", "no": "b"}) + "\n" for n in range(8)))
    own = ["--data", str(columns), "--weights", "2", "--columns", "prompt=q", "chosen=yes", "rejected=no"]
    assert main([*command, *own]) == 0, "what is said of columns and weights is not said of the votes"
