"""A conversation in the terminal: the answer on stdout, everything else on stderr."""

import sys

from llm_app import chat
from llm_app.config import ModelConfig, SamplingConfig, Settings
from llm_app.engine.host import Host
from llm_app.errors import UserError
from llm_app.messages import Message, Usage

HELP = "Ctrl+C stops a reply, /reset starts anew, /exit ends."


class Terminal:
    """One loaded model and the conversation with it."""

    def __init__(self, model: ModelConfig, sampling: SamplingConfig, settings: Settings, *, is_verbose: bool) -> None:
        """Loads the model, with its progress on stderr where a person watches."""
        self._sampling = sampling
        self._is_verbose = is_verbose
        self._host = Host(settings)
        shows_progress = sys.stderr.isatty()
        for progress in self._host.load(model):
            if shows_progress:
                print(f"\r\033[K{progress.phase} {progress.fraction:.0%}", end="", file=sys.stderr, flush=True)
        if shows_progress:
            print("\r\033[K", end="", file=sys.stderr, flush=True)

    def answer(self, message: str, system: str | None) -> int:
        """Answer one message. Gives the exit code."""
        try:
            self._reply([*_opening(system), Message("user", message)])
        finally:
            self._host.shutdown(grace_seconds=0)
        return 0

    def talk(self, system: str | None) -> int:
        """Read messages until /exit or the end of the input. Gives the exit code."""
        is_person = sys.stdin.isatty()
        if is_person:
            print(f"{self._host.status().model}. {HELP}", file=sys.stderr)
        messages = _opening(system)
        try:
            while (line := _read("> " if is_person else "")) is not None:
                if line == "/exit":
                    break
                if line == "/reset":
                    messages = _opening(system)
                elif line:
                    messages = self._turn(messages, line)
        finally:
            self._host.shutdown(grace_seconds=0)
        return 0

    def _turn(self, messages: list[Message], line: str) -> list[Message]:
        """The conversation with this message and its reply; without them if it could not be answered."""
        asked = [*messages, Message("user", line)]
        try:
            return [*asked, Message("assistant", self._reply(asked, is_stoppable=True))]
        except UserError as error:
            print(error.message, file=sys.stderr)
            return messages

    def _reply(self, messages: list[Message], *, is_stoppable: bool = False) -> str:
        text = ""
        usage: Usage | None = None
        stream = chat.reply(self._host, messages, self._sampling, adapter=self._host.adapter, trim=True)
        try:
            for delta in stream:
                text += delta.text
                usage = delta.usage or usage
                print(delta.text, end="", flush=True)
        except KeyboardInterrupt:
            if not is_stoppable:
                raise
        finally:
            stream.close()
            print(flush=True)
        if self._is_verbose and usage is not None:
            print(_summary(usage), file=sys.stderr)
        return text


def _opening(system: str | None) -> list[Message]:
    return [Message("system", system)] if system else []


def _read(prompt: str) -> str | None:
    """The next line, None at the end of the input. The prompt goes to stderr: stdout is for answers."""
    print(prompt, end="", file=sys.stderr, flush=True)
    line = sys.stdin.readline()
    return line.strip() if line else None


def _summary(usage: Usage) -> str:
    return (
        f"{usage.n_prompt_tokens} prompt tokens, {usage.n_output_tokens} output tokens, "
        f"first after {usage.seconds_to_first_token * 1000:.0f} ms, "
        f"{usage.tokens_per_second:.1f} tokens/s, seed {usage.seed}"
    )
