"""This program: the engine behind the page and the API, asked as they ask it."""

from collections.abc import Callable, Sequence

from benchmarks.peers.side import Answer, Setup, serve
from llm_app.config import ModelConfig, SamplingConfig, Settings, quiet_environment


def start(setup: Setup) -> tuple[Answer, str]:
    """The embedded model, of which `setup.file` is the file."""
    from llm_app.engine.host import Host

    host = Host(Settings.from_environment())
    for _ in host.load(ModelConfig("embedded", adapter=setup.adapter, precision=setup.precision or "auto")):
        pass

    def answer(prompts: Sequence[Sequence[int]], n_new: int, came: Callable[[int], None]) -> str:
        rules = SamplingConfig(temperature=0.0, max_new_tokens=n_new, ignore_eos=True)
        streams = [host.stream(prompt, rules, adapter=host.adapter) for prompt in prompts]
        texts = []
        for stream in streams:
            text = ""
            for delta in stream:
                text += delta.text
                if delta.token_ids:
                    came(len(delta.token_ids))
            texts.append(text)
        return texts[0]

    return answer, f"precision {host.loaded.precision}"


if __name__ == "__main__":
    quiet_environment()
    serve(start)
