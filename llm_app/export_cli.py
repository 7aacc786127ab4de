"""The commands `merge` and `export`: a model with its adapter, as files for other programs."""

import argparse
from pathlib import Path
from typing import Any

from llm_app.config import Settings
from llm_app.errors import UserError
from llm_app.perplexity_cli import show

PRECISIONS = ("bf16", "fp32")
FORMATS = ("gguf", "safetensors")
KINDS = ("f16", "f32", "bf16", "q8_0")


def add_parsers(commands: Any) -> None:
    """Both commands and their flags."""
    merge = commands.add_parser(
        "merge", help="Base and adapter -> one model folder that needs neither.", allow_abbrev=False
    )
    merge.add_argument("--adapter", required=True, metavar="A", help="Name of an adapter, or its folder.")
    _add_shared(merge)
    _add_precision(merge)

    export = commands.add_parser(
        "export", help="A model, with or without an adapter, as GGUF or safetensors.", allow_abbrev=False
    )
    export.add_argument("--adapter", metavar="A", help="Merged into it: name of an adapter, or its folder.")
    export.add_argument(
        "--format", required=True, choices=FORMATS,
        help="gguf: one file, for models that came from one; safetensors: a Hugging Face folder.",
    )
    _add_shared(export)
    _add_precision(export)
    export.add_argument(
        "--type", choices=KINDS, help="GGUF: how matrices are stored (default f16; f32 loses nothing).",
    )


def _add_shared(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", required=True, metavar="M", help="embedded, a folder, a .gguf file, or a hub name.")
    parser.add_argument("--output", required=True, metavar="PATH", help="New folder, or new .gguf file.")
    parser.add_argument("--verbose", action="store_true", help="More in the log; where it failed.")


def _add_precision(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--precision", choices=PRECISIONS, help="safetensors: bf16 (default), or fp32, which loses nothing.",
    )


def run_merge(options: argparse.Namespace) -> int:
    """Run the command; gives the exit code."""
    return _write_folder(options)


def run_export(options: argparse.Namespace) -> int:
    """Run the command; gives the exit code."""
    if options.format == "safetensors":
        if options.type is not None:
            raise UserError("--type is of GGUF files; safetensors take --precision.", param="type")
        return _write_folder(options)
    if options.precision is not None:
        raise UserError("--precision is of safetensors; GGUF files take --type.", param="precision")
    settings, output = Settings.from_environment(), _output(options)
    model, adapter = _chosen(options, settings)
    from llm_app.training.gguf_export import export_gguf

    for fraction in export_gguf(model, adapter, output, kind=options.type or "f16", settings=settings):
        show(f"writing {fraction:.0%}")
    return _done(output)


def _write_folder(options: argparse.Namespace) -> int:
    settings, output = Settings.from_environment(), _output(options)
    model, adapter = _chosen(options, settings)
    from llm_app.training.merge import merge

    for fraction in merge(model, adapter, output, precision=options.precision or "bf16", settings=settings):
        show(f"writing {fraction:.0%}")
    return _done(output)


def _output(options: argparse.Namespace) -> Path:
    return Path(options.output).expanduser().absolute()


def _chosen(options: argparse.Namespace, settings: Settings) -> tuple[Any, Path | None]:
    """The model and the adapter's folder; a mistyped name is told before torch is imported."""
    from llm_app.engine.catalog import find_adapter, find_model

    model = find_model(options.model, settings)
    return model, find_adapter(options.adapter, settings).path if options.adapter else None


def _done(output: Path) -> int:
    show("")
    files = [output] if output.is_file() else [file for file in output.rglob("*") if file.is_file()]
    print(f"{output} ({sum(file.stat().st_size for file in files) / 1e6:,.1f} MB)")
    return 0
