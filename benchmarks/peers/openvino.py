"""OpenVINO GenAI, which reads GGUF itself. Its defaults, but for the number of threads and room for many streams.

It has no part with an adapter: of a model that it reads from GGUF its layers have other names than PEFT's, and it goes
on without the adapter ("Unused LoRA tensor"; seen with 2026.4.1).
"""

from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.peers.side import Answer, Setup, serve


def start(setup: Setup) -> tuple[Answer, str]:
    """LLMPipeline for one stream, ContinuousBatchingPipeline for many."""
    import numpy as np
    import openvino
    import openvino_genai as genai

    if setup.adapter:
        raise SystemExit("it does not apply adapters to a model that it reads from GGUF")
    properties: dict[str, Any] = {"INFERENCE_NUM_THREADS": setup.n_threads}
    if setup.precision:
        properties["INFERENCE_PRECISION_HINT"] = setup.precision

    def rules(n_new: int) -> Any:
        config = genai.GenerationConfig()
        config.max_new_tokens = config.min_new_tokens = n_new
        config.ignore_eos, config.do_sample, config.apply_chat_template = True, False, False
        return config

    def as_tensor(prompt: Sequence[int]) -> Any:
        return openvino.Tensor(np.array([prompt], dtype=np.int64))

    class Arrivals(genai.StreamerBase):  # type: ignore[misc]
        """Counts tokens as they come."""

        def __init__(self, came: Callable[[int], None]) -> None:
            super().__init__()
            self._came = came

        def write(self, token: int | Sequence[int]) -> Any:
            """One token or several."""
            self._came(1 if isinstance(token, int) else len(token))
            return genai.StreamingStatus.RUNNING

        def end(self) -> None:
            """Nothing is held back."""

    def one(prompts: Sequence[Sequence[int]], n_new: int, came: Callable[[int], None]) -> str:
        [prompt] = prompts
        inputs = genai.TokenizedInputs(as_tensor(prompt), as_tensor([1] * len(prompt)))
        result = pipeline.generate(inputs, rules(n_new), Arrivals(came))
        return str(pipeline.get_tokenizer().decode(result.tokens[0]))

    def many(prompts: Sequence[Sequence[int]], n_new: int, came: Callable[[int], None]) -> str:
        results = pipeline.generate([as_tensor(prompt) for prompt in prompts], [rules(n_new)] * len(prompts))
        for result in results:
            came(len(result.m_generation_ids[0]))
        return str(pipeline.get_tokenizer().decode(results[0].m_generation_ids[0]))

    if setup.n_streams > 1:
        scheduler = genai.SchedulerConfig()
        # Room for all of them at once: the default holds back prompts that would fit.
        scheduler.max_num_seqs, scheduler.max_num_batched_tokens, scheduler.cache_size = setup.n_streams, 512, 1
        scheduler.enable_prefix_caching = True  # as LLMPipeline has it
        pipeline = genai.ContinuousBatchingPipeline(setup.file, scheduler, "CPU", properties)
    else:
        pipeline = genai.LLMPipeline(setup.file, "CPU", **properties)
    return many if setup.n_streams > 1 else one, f"openvino-genai {genai.get_version()} {setup.precision}"


if __name__ == "__main__":
    serve(start)
