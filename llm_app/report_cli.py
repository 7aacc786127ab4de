"""The command `report`: runs in, a table, a page or a file for a model card out."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llm_app.config import Settings
from llm_app.errors import UserError

# As in eval.report, which is imported only when it is needed: `--help` answers at once. A test keeps them equal.
FORMATS = ("html", "markdown", "csv", "json", "eval-results", "model-index", "command")


def add_parser(commands: Any) -> None:
    """The command and its flags."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "report", help="What runs came to: HTML page, Markdown, CSV, JSON, model card, command.", allow_abbrev=False
    )
    parser.add_argument(
        "runs", nargs="+", metavar="RUN",
        help="Id of a run, its folder, or the harness's results; several stand side by side.",
    )
    parser.add_argument(
        "--format", choices=FORMATS, default="markdown",
        help="html: one file with plots and samples; eval-results: .eval_results/*.yaml; model-index: head of"
        " README.md; command: what repeats the run (default markdown).",
    )
    parser.add_argument("--output", metavar="FILE", help="Where it goes (default: stdout).")
    parser.add_argument("--language", choices=("en", "zh"), default="en", help="Of the HTML page (default en).")
    parser.add_argument("--verbose", action="store_true", help="More in the log; where it failed.")


def run(options: argparse.Namespace) -> int:
    """Run the command; gives the exit code."""
    settings = Settings.from_environment()
    from eval.report import export
    from eval.types import EvaluationError
    from llm_app.jobs.folder import write_whole
    from llm_app.jobs.reports import read_reports

    reports = read_reports(options.runs, settings)
    sections = _compared(options, settings) if options.format == "html" and len(options.runs) > 1 else ()
    try:
        written = export(reports, options.format, language=options.language, sections=sections)
    except EvaluationError as error:
        raise UserError(str(error), param="run") from error
    if options.output is None:
        # As bytes: CSV has its own line ends, and a terminal of another encoding must not stop a report.
        sys.stdout.flush()
        sys.stdout.buffer.write(written.encode("utf-8"))
        sys.stdout.flush()
        return 0
    print(f"written to {write_whole(Path(options.output), written)}", file=sys.stderr)
    return 0


def _compared(options: argparse.Namespace, settings: Settings) -> Sequence[Any]:
    """Each run against the first, or why that cannot be."""
    from eval.report import comparison_section, refused_section
    from llm_app.jobs.compare import compare_runs

    try:
        comparisons = compare_runs(options.runs, settings)
    except UserError as error:
        return [refused_section(error.message, options.language)]
    return [comparison_section(comparison, options.language) for comparison in comparisons]
