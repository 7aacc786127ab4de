"""Every precision of the embedded model on this machine: memory, load time, speed.

    python -m benchmarks.precisions [--precisions fp32,bf16,int8,nf4,fp4,gguf]

Each in a process of its own. Memory of the weights is what the tensors hold; resident is what the process grew by
from before the load to after a reply, the key/value cache and the libraries' workspace included.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time

COLUMNS = ("precision", "weights_mb", "resident_mb", "load_s", "first_token_ms", "one_stream", "eight_streams")


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--precisions", default="fp32,bf16,int8,nf4,fp4,gguf")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measure(args.one)))
        return
    print("| " + " | ".join(COLUMNS) + " | text |")
    print("|" + "---|" * (len(COLUMNS) + 1))
    for precision in args.precisions.split(","):
        command = [sys.executable, "-m", "benchmarks.precisions", "--one", precision]
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        row = json.loads(output.splitlines()[-1])
        print("| " + " | ".join(str(row[name]) for name in (*COLUMNS, "text")) + " |", flush=True)


def measure(precision: str) -> dict[str, object]:
    """Load, answer, count."""
    from llm_app.config import ModelConfig, SamplingConfig, Settings, quiet_environment

    quiet_environment()
    import psutil

    from benchmarks.chat import ids_of, ours
    from benchmarks.prompts import short_prompts
    from llm_app.engine.host import Host

    process, host = psutil.Process(), Host(Settings.from_environment())
    before, started = process.memory_info().rss, time.perf_counter()
    for _ in host.load(ModelConfig("embedded", precision=precision)):
        pass
    load_s = time.perf_counter() - started
    prompts = [ids_of(host, text) for text in short_prompts()]
    ours(host, prompts[:1])
    deltas = list(host.stream(prompts[0], SamplingConfig(temperature=0.0, max_new_tokens=32)))
    usage = deltas[-1].usage
    assert usage is not None
    return {
        "precision": precision,
        "weights_mb": round(host.loaded.n_bytes / 1e6),
        "resident_mb": round((process.memory_info().rss - before) / 1e6),
        "load_s": round(load_s, 1),
        "first_token_ms": round(1000 * usage.seconds_to_first_token),
        "one_stream": round(statistics.median(ours(host, prompts[:1]) for _ in range(3)), 1),
        "eight_streams": round(statistics.median(ours(host, prompts[:8]) for _ in range(2)), 1),
        "text": "".join(delta.text for delta in deltas)[:60].replace("\n", " ").replace("|", "/"),
    }


if __name__ == "__main__":
    main()
