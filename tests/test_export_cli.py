"""The commands `merge` and `export`: files on disk, one line on stdout, one sentence where it cannot be."""

from pathlib import Path

import pytest

from llm_app.cli import main
from tests import tiny


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROOFBENCH_HOME", str(tmp_path / "home"))


def test_merge_leaves_a_model_folder_and_says_where(
    tiny_llama: Path, tiny_adapter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "merged"
    arguments = ["merge", "--model", str(tiny_llama), "--adapter", str(tiny_adapter), "--output", str(output)]
    assert main(arguments) == 0
    assert capsys.readouterr().out.startswith(f"{output} (")
    assert (output / "model.safetensors").is_file()
    assert main(arguments) == 2
    assert capsys.readouterr().err == f"{output} exists already. Give another name, or remove it first.\n"


def test_export_writes_gguf_in_the_type_that_is_asked_for(
    tiny_llama: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, output = tiny.make_gguf(tiny_llama, tmp_path / "tiny.gguf", kind="F32"), tmp_path / "small.gguf"
    command = ["export", "--model", str(file), "--format", "gguf", "--type", "q8_0", "--output", str(output)]
    assert main(command) == 0
    assert output.stat().st_size < file.stat().st_size / 2
    assert capsys.readouterr().out.startswith(f"{output} (0.")


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--format", "gguf", "--output", "new.gguf"], "does not come from a GGUF file"),
        (["--format", "gguf", "--output", "new.bin"], "does not end in .gguf"),
        (["--format", "gguf", "--precision", "bf16", "--output", "new.gguf"], "GGUF files take --type"),
        (["--format", "safetensors", "--type", "f16", "--output", "new"], "safetensors take --precision"),
        (["--format", "safetensors", "--adapter", "nothing", "--output", "new"], "No adapter nothing"),
    ],
)
def test_what_cannot_be_exported_is_refused_in_one_line(
    flags: list[str], sentence: str, tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert main(["export", "--model", str(tiny_llama), *flags]) == 2
    told = capsys.readouterr()
    assert sentence in told.err
    assert told.err.count("\n") == 1
    assert told.out == ""
    assert not list(tmp_path.glob("new*"))
