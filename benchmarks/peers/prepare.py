"""What the sides need, made once: the model in bf16 as a folder, a LoRA adapter as PEFT and as GGUF, prompts as ids.

    python -m benchmarks.peers.prepare FOLDER
"""

import json
import re
import sys
from pathlib import Path

from benchmarks.peers.side import ADAPTER_FILE
from benchmarks.prompts import TOPICS, long_prompt, paired_prompts, short_prompts
from benchmarks.train import write_folder

MODEL, ADAPTER, PROMPTS = "model", "adapter", "prompts.json"
RANK = 16
B_SCALE = 1e-3  # of random matrices, so small that the model still speaks
_GGUF_NAMES = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}  # fmt: skip
_KEY = re.compile(r"base_model\.model\.model\.layers\.(\d+)\.(\w+\.\w+)\.lora_([AB])\.weight")


def main() -> None:
    """Write all of it below the folder that the command line names."""
    folder = Path(sys.argv[1])
    write_folder(folder / MODEL)
    write_adapter(folder)
    write_gguf(folder)
    write_prompts(folder)


def write_adapter(folder: Path) -> None:
    """A LoRA adapter on all linear layers; its scale is 1 in every program's reckoning."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(folder / MODEL, dtype=torch.float32)
    config = LoraConfig(r=RANK, lora_alpha=RANK, target_modules="all-linear", task_type="CAUSAL_LM")
    tuned = get_peft_model(model, config)
    with torch.no_grad():
        for name, weight in tuned.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=B_SCALE)
    tuned.save_pretrained(folder / ADAPTER)


def write_gguf(folder: Path) -> None:
    """The adapter as llama.cpp reads it."""
    import gguf
    from safetensors.numpy import load_file

    model = json.loads((folder / MODEL / "config.json").read_text())
    writer = gguf.GGUFWriter(folder / ADAPTER / ADAPTER_FILE, "llama")
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", RANK)
    for key, data in load_file(folder / ADAPTER / "adapter_model.safetensors").items():
        found = _KEY.fullmatch(key)
        assert found is not None, key
        layer, module, part = found.groups()
        n_heads = {"self_attn.q_proj": "num_attention_heads", "self_attn.k_proj": "num_key_value_heads"}.get(module)
        if n_heads and part == "B":
            # llama.cpp rotates neighbouring pairs, transformers the two halves: the rows change places.
            data = data.reshape(model[n_heads], 2, -1, RANK).swapaxes(1, 2).reshape(data.shape)
        writer.add_tensor(f"blk.{layer}.{_GGUF_NAMES[module]}.weight.lora_{part.lower()}", data)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_prompts(folder: Path) -> None:
    """Token ids of questions, of long prompts, and of the questions of each round, as the chat template puts them."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder / MODEL)

    def ids(text: str) -> list[int]:
        rendered = tokenizer.apply_chat_template(
            [{"role": "user", "content": text}], tokenize=False, add_generation_prompt=True
        )
        found: list[int] = tokenizer(rendered, add_special_tokens=False)["input_ids"]
        return found

    prompts = {
        "short": [ids(text) for text in short_prompts()],
        "long": [ids(long_prompt(about=topic)) for topic in TOPICS],
        "many": [[ids(text) for text in paired_prompts(shift)] for shift in range(1, len(TOPICS))],
    }
    (folder / PROMPTS).write_text(json.dumps(prompts))


if __name__ == "__main__":
    main()
