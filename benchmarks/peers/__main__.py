"""Ours, transformers, llama.cpp and OpenVINO GenAI on the same model file and the same cores, in turn in one run.

    python -m benchmarks.peers [--rounds 3] [--parts alone,adapter,many] [--peers generate,llamacpp-node,openvino]
                               [--peer-python PATH] [--node-modules FOLDER] [--precision auto] [--tokens 128]

Greedy, the same token ids, a fixed number of new tokens, end tokens ignored. `alone`: one stream after a question and
after a prompt of 1,000 tokens. `adapter`: the same with a LoRA adapter of rank 16 on all linear layers, kept apart from
the weights. `many`: 32 streams of 64 tokens that start at once, prompts included, beside one stream of `generate`.

A side is a process of its own, loaded once a part and asked in turn, never two at once; each round has another order.
Each case is asked once before it counts. Each round has other prompts with the same first words; a side may take over
what it has read of them before, as its users have it. Seconds are the caller's, in the side's own process. A ratio is
ours to the peer's in the same round; above 1 ours is ahead, in each measure. Every process may use the cores that this
one may (taskset), with as many threads.

llamacpp is the wheel of requirements-dev.txt, made for AVX2; llamacpp-node chooses its kernels by the processor: FOLDER
has it (npm install node-llama-cpp). PATH is an interpreter with openvino-genai, which wants packages of its own. A peer
that is not there is named and left out.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.peers.prepare import ADAPTER, MODEL, PROMPTS
from benchmarks.peers.side import Setup
from llm_app.engine import catalog

PEERS = ("generate", "llamacpp", "llamacpp-node", "openvino", "openvino-f32")
PARTS = ("alone", "adapter", "many")
N_STREAMS, N_NEW_OF_MANY, MOST_ROUNDS = 32, 64, 30
# What counts of each kind of case, and whether more is better.
MEASURES = {"decode_tokens_per_s": True, "first_token_ms": False, "total_tokens_per_s": True}
ROOT = Path(__file__).parents[2]


class Side:
    """One engine's process; what it says beside its answers goes to `log`.

    Raises: LeftOut, also from ask(), if it does not come up or ends.
    """

    def __init__(self, name: str, command: Sequence[str], setup: Setup, log: Path) -> None:
        self.name = name
        self._log = log
        environment = os.environ | {"OMP_NUM_THREADS": str(setup.n_threads)}
        with log.open("w") as file:
            self._process = subprocess.Popen(
                command, cwd=ROOT, env=environment, text=True, bufsize=1,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=file,
            )  # fmt: skip
        self.about: str = self._exchange(asdict(setup))["about"]

    def ask(self, prompts: Sequence[Sequence[int]], n_new: int) -> dict[str, Any]:
        """What side.measure says of one call."""
        return self._exchange({"prompts": prompts, "n_new": n_new})

    def close(self) -> None:
        """End the process; nothing of it is worth waiting for."""
        self._process.kill()
        self._process.wait()

    def _exchange(self, question: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(question) + "\n")
        except BrokenPipeError:
            line = ""
        else:
            line = self._process.stdout.readline()
        if not line:
            self.close()
            said = self._log.read_text(errors="replace").strip().splitlines()
            raise LeftOut(said[-1] if said else "it ended without a word")
        answer: dict[str, Any] = json.loads(line)
        return answer


class LeftOut(Exception):
    """A side that cannot take part, and why."""


@dataclass(frozen=True)
class Case:
    """What is asked in each round, and which measures count. `prompts` of a round; `n_new` tokens of each."""

    name: str
    rounds: Sequence[Sequence[Sequence[int]]]
    n_new: int
    measures: tuple[str, ...]


def main() -> None:
    """Measure and print one JSON line a figure, then the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--peers", default=",".join(PEERS), help=f"of {', '.join(PEERS)}")
    parser.add_argument("--peer-python", default=sys.executable, help="has openvino-genai")
    parser.add_argument("--node-modules", default=".", help="the folder that holds node_modules")
    parser.add_argument("--precision", default="auto", help="ours")
    parser.add_argument("--tokens", type=int, default=128, help="of one stream")
    args = parser.parse_args()
    parts, peers = args.parts.split(","), args.peers.split(",")
    if unknown := {*parts, *peers} - {*PARTS, *PEERS}:
        parser.error(f"not known: {', '.join(sorted(unknown))}")
    if not 1 <= args.rounds <= MOST_ROUNDS:
        parser.error(f"--rounds: 1 to {MOST_ROUNDS}; there are no prompts for more")
    n_threads = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "benchmarks.peers.prepare", folder], cwd=ROOT, check=True)
        prompts = json.loads(Path(folder, PROMPTS).read_text())
        print(f"# {n_threads} threads, load {os.getloadavg()[0]:.1f}, {args.rounds} rounds", flush=True)
        setup = Setup(str(catalog.embedded_model()), str(Path(folder, MODEL)), None, 1, n_threads, args.precision)
        for part in parts:
            with ExitStack() as stack:
                sides = start(stack, part, peers, args, replace(
                    setup, adapter=str(Path(folder, ADAPTER)) if part == "adapter" else None,
                    n_streams=N_STREAMS if part == "many" else 1,
                ))  # fmt: skip
                for case in cases(part, prompts, args.rounds, args.tokens):
                    report(part, case, compare(sides, case))


def start(stack: ExitStack, part: str, peers: Sequence[str], args: argparse.Namespace, setup: Setup) -> list[Side]:
    """Ours and those peers that come up, one after the other."""
    runner = Path(__file__).with_name("llamacpp.mjs")
    commands: dict[str, tuple[list[str], str]] = {
        "ours": ([sys.executable, "-m", "benchmarks.peers.ours"], args.precision),
        "generate": ([sys.executable, "-m", "benchmarks.peers.generate"], ""),
        "llamacpp": ([sys.executable, "-m", "benchmarks.peers.llamacpp"], ""),
        "llamacpp-node": (["node", str(runner), os.path.abspath(args.node_modules)], ""),
        "openvino": ([args.peer_python, "-m", "benchmarks.peers.openvino"], ""),
        "openvino-f32": ([args.peer_python, "-m", "benchmarks.peers.openvino"], "f32"),
    }
    sides = []
    for name in ("ours", *peers):
        command, precision = commands[name]
        try:
            side = Side(name, command, replace(setup, precision=precision), Path(setup.folder, f"{name}.log"))
        except (LeftOut, FileNotFoundError) as error:
            if name == "ours":
                raise
            print(f"# {part}: {name} left out: {error}", flush=True)
            continue
        stack.callback(side.close)
        print(f"# {part}: {name}: {side.about}", flush=True)
        sides.append(side)
    return sides


def cases(part: str, prompts: dict[str, Any], n_rounds: int, n_tokens: int) -> list[Case]:
    """The cases of a part; round 0 is the warm-up."""
    if part == "many":
        return [Case("32 streams", prompts["many"][: n_rounds + 1], N_NEW_OF_MANY, ("total_tokens_per_s",))]
    return [
        Case(
            f"{len(prompts[length][0])}-token prompt", [[prompt] for prompt in prompts[length][: n_rounds + 1]],
            n_tokens, ("decode_tokens_per_s", "first_token_ms"),
        )
        for length in ("short", "long")
    ]  # fmt: skip


def compare(sides: Sequence[Side], case: Case) -> dict[str, list[dict[str, Any]]]:
    """What each side said, round by round, each in another order; `generate` takes one prompt at a time."""
    said: dict[str, list[dict[str, Any]]] = {side.name: [] for side in sides}
    for i, prompts in enumerate(case.rounds):
        order = [*sides[i % len(sides) :], *sides[: i % len(sides)]]
        for side in order if i % 2 else order[::-1]:
            told = side.ask(prompts[:1] if side.name == "generate" else prompts, case.n_new)
            if i > 0:
                said[side.name].append(told)
    return said


def report(part: str, case: Case, said: dict[str, list[dict[str, Any]]]) -> None:
    """Medians of each side, then how ours compares with each in the same rounds."""
    for name, rounds in said.items():
        figures = {key: round(statistics.median(told[key] for told in rounds), 1) for key in case.measures}
        each = {f"rounds_{key}": [round(told[key], 1) for told in rounds] for key in case.measures}
        line = {"part": part, "case": case.name, "side": name, **figures, **each, "text": rounds[0]["text"]}
        print(json.dumps(line), flush=True)
    for key in case.measures:
        for name, rounds in said.items():
            if name == "ours":
                continue
            pairs = [(mine[key], theirs[key]) for mine, theirs in zip(said["ours"], rounds, strict=True)]
            ratios = [mine / theirs if MEASURES[key] else theirs / mine for mine, theirs in pairs]
            line = {
                "part": part, "case": case.name, "measure": key, "ours_against": name,
                "times_as_fast": round(statistics.median(ratios), 2), "ratios": [round(each, 2) for each in ratios],
            }  # fmt: skip
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
