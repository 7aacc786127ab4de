"""The command line: what stands on which stream, which exit code, how soon."""

import json
import logging
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path

import pytest

from docs.make_settings import page
from llm_app.cli import main
from llm_app.config import ModelConfig, SamplingConfig, ServeConfig
from llm_app.flags import flag_of
from llm_app.options import options_of
from tests.tiny import CHATML, load_plain, make_tokenizer

ROOT = Path(__file__).parent.parent
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home of its own; the log handlers of the test runner are put back."""
    monkeypatch.setenv("PROOFBENCH_HOME", str(tmp_path / "home"))
    handlers = logging.root.handlers[:]
    yield tmp_path / "home"
    logging.root.handlers[:] = handlers


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command in this process; gives exit code, stdout and stderr."""
    def run(*arguments: str) -> tuple[int, str, str]:
        try:
            code = main(list(arguments))
        except SystemExit as end:  # argparse
            code = end.code
        out, err = capsys.readouterr()
        return code, out, err

    return run


def in_a_process(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False, **options
    )


def test_help_answers_within_a_second_and_imports_nothing_heavy():
    code = (
        "import sys; from llm_app.cli import main\n"
        "try: main(['chat', '--help'])\n"
        "finally: print([m for m in ('torch', 'transformers', 'gradio', 'fastapi', 'numpy') if m in sys.modules])"
    )
    started = time.monotonic()
    done = in_a_process("-c", code)
    assert done.stdout.rstrip().endswith("[]")
    # An idle machine takes a tenth of this; the other half of the test says why.
    assert time.monotonic() - started < 3
    assert in_a_process("-m", "llm_app", "--help").returncode == 0


def test_every_option_of_the_dataclasses_is_a_flag(run: Run):
    for command, configs in {"chat": (ModelConfig, SamplingConfig), "serve": (ServeConfig, ModelConfig)}.items():
        _, text, _ = run(command, "--help")
        for config in configs:
            for item, _ in options_of(config):
                assert re.search(rf"^  {flag_of(item.name)}\b", text, re.MULTILINE), item.name


def test_the_settings_page_is_made_from_the_same_options():
    assert (ROOT / "docs/settings.md").read_text(encoding="utf-8") == page()


@pytest.mark.parametrize(("arguments", "named"), [
    (["chat", "--tempreature", "1"], "--tempreature"),
    (["chat", "--temp", "1"], "--temp"),
    (["chat", "--seed", "red"], "--seed"),
    (["chat", "--temperature", "3"], "temperature"),
    (["chat", "--temperature", "nan"], "temperature"),
    (["chat", "--precision", "int3"], "precision"),
    (["serve", "--port", "0"], "port"),
    (["benchmark", "--tasks", "sst2", "--seed", "5000000000"], "--seed"),
    (["benchmark", "--tasks", "sst2", "--shots", "65"], "--shots"),
    (["benchmark", "--tasks", "sst2", "--limit", "0"], "--limit"),
    (["benchmark", "--tasks", "sst2", "--shots", "red"], "--shots"),
    (["dance"], "dance"),
    ([], "COMMAND"),
])
def test_what_is_not_understood_is_named_in_one_line_with_exit_2(run: Run, arguments: list[str], named: str):
    code, out, err = run(*arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert named in err


def test_a_model_that_is_not_there_is_a_callers_error(run: Run):
    code, out, err = run("chat", "--message", "hi", "--model", "no-such-folder")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "no-such-folder" in err


def test_models_lists_folders_of_the_home(run: Run, home: Path, tiny_llama: Path):
    (home / "models").mkdir(parents=True)
    (home / "models" / "mine").symlink_to(tiny_llama, target_is_directory=True)
    code, out, _ = run("models", "--json")
    names = {model["name"]: model["kind"] for model in json.loads(out)["models"]}
    assert code == 0
    assert names["mine"] == "folder"
    assert any(line.split()[:2] == ["mine", "folder"] for line in run("models")[1].splitlines())


def chat(run: Run, model: Path, *more: str) -> tuple[int, str, str]:
    return run("chat", "--model", str(model), "--precision", "fp32", "--max-new-tokens", "12", *more)


def test_stdout_holds_the_answer_of_transformers_generate_and_nothing_else(run: Run, tiny_llama: Path):
    tokenizer = make_tokenizer(CHATML)
    ids = tokenizer.apply_chat_template(
        [{"role": "user", "content": "hello"}], add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    output = load_plain(tiny_llama).generate(**ids, max_new_tokens=12, do_sample=False)
    expected = tokenizer.decode(output[0, ids["input_ids"].shape[1]:], skip_special_tokens=True)

    code, out, err = chat(run, tiny_llama, "--message", "hello", "--temperature", "0")
    # A character cut by the token limit is not shown.
    assert (code, out, err) == (0, expected.rstrip("\ufffd") + "\n", "")


def test_a_seed_repeats_the_answer_and_verbose_tells_the_cost_on_stderr(run: Run, tiny_llama: Path):
    wild = ("--message", "hello", "--temperature", "2", "--top-k", "0", "--top-p", "1")
    first, again, other = (chat(run, tiny_llama, *wild, "--seed", seed)[1] for seed in ("7", "7", "8"))
    assert first == again != other
    _, out, err = chat(run, tiny_llama, *wild, "--seed", "7", "--verbose")
    assert out == first
    assert re.search(r"\d+ prompt tokens, \d+ output tokens, .* tokens/s, seed 7", err)


def test_without_a_message_each_line_is_a_turn_and_reset_forgets(
    run: Run, tiny_llama: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("sys.stdin", StringIO("hello\n/reset\nhello\n\n/exit\nnever read\n"))
    code, out, _ = chat(run, tiny_llama, "--temperature", "0")
    first, second = out.splitlines()
    assert code == 0
    assert first == second


@pytest.mark.parametrize("imported", ["llm_app.errors", "llm_app.terminal"])
def test_ctrl_c_during_one_message_ends_with_130(imported: str, tmp_path: Path, tiny_llama: Path):
    """While the command line is still being imported, and while the model is loaded or answers."""
    command = [
        sys.executable, "-X", "importtime", "-m", "llm_app", "chat", "--model", str(tiny_llama),
        "--precision", "fp32", "--message", "hello", "--temperature", "0", "--max-new-tokens", "400",
    ]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PROOFBENCH_HOME": str(tmp_path / "home")},
        # A shell starts what runs in the background with Ctrl+C ignored, and this would be handed on.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stderr is not None
    for line in process.stderr:  # Python says of each module when it has been imported
        if line.rstrip().endswith(imported):
            break
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
