"""The command `precisions`: what each precision of a model costs in quality and saves in memory; a table on stdout."""

import argparse
import json
import math
import sys
from dataclasses import asdict
from typing import Any

from llm_app.config import PRECISIONS, ModelConfig, Settings
from llm_app.errors import UserError
from llm_app.flags import add_flags, read_flags
from llm_app.perplexity_cli import read_text, show

ALL = tuple(precision for precision in PRECISIONS if precision != "auto")
COLUMNS = (
    "precision", "token perplexity", "KL to fp32 (nats/token)", "same top token", "weights MB", "process MB",
    "prefill tok/s", "decode tok/s", "score (95 % interval)",
)


def add_parser(commands: Any) -> None:
    """The command and its flags."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "precisions", help="One text and one task through every precision of a model.", allow_abbrev=False
    )
    parser.add_argument(
        "--precisions", default=",".join(ALL), metavar="A,B", help=f"Which ones (default: {','.join(ALL)})."
    )
    parser.add_argument("--text", metavar="FILE", help="UTF-8 text to measure with (default: the one of eval/data).")
    parser.add_argument(
        "--tokens", type=int, default=2048, metavar="N",
        help="Tokens of the text that are read (default 2048); each takes 4 bytes of disk per entry of the vocabulary.",
    )
    parser.add_argument("--task", metavar="NAME", help="A task of the harness, such as sst2 (default: none).")
    parser.add_argument("--limit", type=int, metavar="N", help="First N samples of the task (default: all).")
    parser.add_argument("--json", action="store_true", help="As JSON.")
    parser.add_argument("--verbose", action="store_true", help="More in the log; where it failed.")
    add_flags(parser, ModelConfig, "model")


def run(options: argparse.Namespace) -> int:
    """Run the command; gives the exit code."""
    settings, config = Settings.from_environment(), read_flags(options, ModelConfig)
    asked = [name.strip() for name in options.precisions.split(",") if name.strip()]
    unknown = [name for name in asked if name not in ALL]
    if unknown or not asked:
        raise UserError(f"Precisions are {', '.join(ALL)}; not {', '.join(unknown) or 'none'}.", param="precisions")
    for name in ("tokens", "limit"):
        if getattr(options, name) is not None and getattr(options, name) < 1:
            raise UserError(f"--{name} must be at least 1.", param=name)
    given = read_text(options.text) if options.text else None
    from llm_app.engine.host import Host
    from llm_app.jobs.ruler import Ask, Refused, Working, measure, own_text

    rows, refused = [], []
    host = Host(settings)
    try:
        ask = Ask(own_text() if given is None else given, options.tokens, options.task, options.limit)
        for made in measure(host, config, asked, ask):
            if isinstance(made, Working):
                show(f"{made.precision} {made.phase} {made.fraction:.0%}")
                continue
            show("")
            if isinstance(made, Refused):
                refused.append(made)
                print(f"{made.precision}: {made.reason}", file=sys.stderr, flush=True)
            else:
                rows.append(made)
    finally:
        host.shutdown(grace_seconds=0)
    show("")
    if options.json:
        print(json.dumps({"rows": [plain(asdict(row)) for row in rows], "refused": [asdict(r) for r in refused]},
                         indent=2, ensure_ascii=False))
    elif rows:
        print(table(rows))
    return 0 if rows else 2


def table(rows: list[Any]) -> str:
    """As a Markdown table, with a line on what was read."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    for row in rows:
        score = row.score and f"{row.metric} {row.score.estimate:.4f} ({row.score.low:.4f} to {row.score.high:.4f})"
        cells = (
            row.precision, f"{row.token_perplexity:.4f}", "-" if row.kl is None else f"{row.kl:.6f}",
            "-" if row.agreement is None else f"{row.agreement:.2%}", f"{row.weights_bytes / 1e6:.0f}",
            f"{row.process_bytes / 1e6:.0f}", f"{row.prefill_speed:.0f}", f"{row.decode_speed:.1f}", score or "-",
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, f"{rows[0].n_tokens:,} tokens of text; 1 MB is 10^6 bytes."])


def plain(value: Any) -> Any:
    """The value as JSON has it: a number that is not finite as text."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
