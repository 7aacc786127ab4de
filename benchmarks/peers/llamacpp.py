"""llama.cpp's server through xllamacpp. Its wheel is built for AVX2, whatever the processor has: see `about`.

The other llama.cpp here, llamacpp.mjs, chooses its kernels by the processor.
"""

import json
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers.side import ADAPTER_FILE, Answer, Setup, serve

N_CONTEXT, N_CONTEXT_OF_MANY = 2048, 512  # tokens of a slot: one stream, many


def start(setup: Setup) -> tuple[Answer, str]:
    """As many slots as streams."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path, params.n_parallel = setup.file, setup.n_streams
    params.n_ctx = N_CONTEXT if setup.n_streams == 1 else N_CONTEXT_OF_MANY * setup.n_streams
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = setup.n_threads
    if setup.adapter:
        params.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(str(Path(setup.adapter, ADAPTER_FILE)), 1.0)]
    server = xllamacpp.Server(params)

    def reply(prompt: Sequence[int], n_new: int, came: Callable[[int], None]) -> str:
        texts: list[str] = []
        asked = {
            "prompt": list(prompt), "n_predict": n_new, "temperature": 0.0, "ignore_eos": True, "stream": True,
        }  # fmt: skip

        def on_chunk(chunk: dict[str, Any] | str) -> None:
            told = json.loads(chunk) if isinstance(chunk, str | bytes) else chunk
            usage = told.get("usage")
            # A piece of text is a token; of half a character it waits for the rest.
            came(usage["completion_tokens"] - len(texts) if usage else 1)
            if not usage:
                texts.append(told["choices"][0]["text"])

        server.handle_completions(asked, on_chunk)
        return "".join(texts)

    def answer(prompts: Sequence[Sequence[int]], n_new: int, came: Callable[[int], None]) -> str:
        others = [threading.Thread(target=reply, args=(prompt, n_new, came)) for prompt in prompts[1:]]
        for thread in others:
            thread.start()
        text = reply(prompts[0], n_new, came)
        for thread in others:
            thread.join()
        return text

    return answer, f"xllamacpp {xllamacpp.__version__}, {xllamacpp.get_system_info()}"


if __name__ == "__main__":
    serve(start)
