"""Tiny random models, adapters and GGUF files of real kinds, made in well under a second each.

Everything here is written by the libraries that people use (transformers, tokenizers, peft, gguf), so a test that
loads it meets the same files as a person does, only smaller.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

FAMILIES = ("llama", "qwen2", "qwen3", "gemma3", "gpt2")
SPECIALS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
# Shorter than any test prompt worth the name, so that the window really cuts.
SLIDING_WINDOW = 8

CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)

# English only: other scripts, emoji and accents fall apart into bytes, so their characters span several tokens.
_CORPUS = (
    "the quick brown fox jumps over the lazy dog and then another thing that they wanted to say",
    "what is the answer to this question? user assistant system hello world, how are you today",
    "positive negative neutral one two three four five six seven eight nine ten in on at of for with",
)


@cache
def _backend() -> Any:
    """A byte-level BPE: 256 bytes, a few dozen merges, three specials. Lossless on every string."""
    from tokenizers import (
        AddedToken,
        Tokenizer,
        decoders,
        models,
        pre_tokenizers,
        trainers,
    )

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(_CORPUS, trainer)
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in SPECIALS])
    return tokenizer


def make_tokenizer(template: str | None = CHATML) -> "PreTrainedTokenizerBase":
    """The tokenizer of all tiny models: 403 tokens, replies end at <|im_end|>.

    transformers reads it back as Qwen2Tokenizer for qwen2, which normalises to NFC; elsewhere no byte changes.
    """
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(_backend().to_str()),
        eos_token="<|im_end|>", pad_token="<|endoftext|>", clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = template
    return tokenizer


def _config(
    family: str, *, n_layers: int, hidden: int, n_context: int, vocabulary: dict[str, Any]
) -> "PretrainedConfig":
    import transformers

    if family == "gpt2":
        return transformers.GPT2Config(
            **vocabulary, n_positions=n_context, n_embd=hidden, n_layer=n_layers, n_head=4, initializer_range=0.15,
        )
    # A large initializer_range makes the logits differ by more than rounding does.
    shared: dict[str, Any] = dict(
        **vocabulary, hidden_size=hidden, intermediate_size=2 * hidden, num_hidden_layers=n_layers,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=n_context, initializer_range=0.15,
    )
    if family == "llama":
        return transformers.LlamaConfig(**shared, tie_word_embeddings=False)
    if family == "qwen2":
        return transformers.Qwen2Config(**shared, tie_word_embeddings=True)
    if family == "qwen3":
        # As in the released ones, heads do not add up to the hidden size; 128 is also all that transformers' GGUF
        # reader knows for this family.
        return transformers.Qwen3Config(**shared, head_dim=128, tie_word_embeddings=True)
    if family == "gemma3":
        kinds = ["full_attention" if i % 2 else "sliding_attention" for i in range(n_layers)]
        return transformers.Gemma3TextConfig(
            **shared, head_dim=hidden // 4, query_pre_attn_scalar=hidden // 4,
            sliding_window=SLIDING_WINDOW, layer_types=kinds,
        )
    raise ValueError(f"no tiny family {family!r}; have {FAMILIES}")


def make_model(
    folder: Path,
    *,
    family: str = "llama",
    seed: int = 0,
    template: str | None = CHATML,
    n_layers: int = 2,
    hidden: int = 64,
    n_context: int = 512,
    dtype: str = "float32",
) -> Path:
    """Write a random model with its tokenizer as a Hugging Face folder; the same arguments give the same bytes."""
    import torch
    from transformers import AutoModelForCausalLM, GenerationConfig

    tokenizer = make_tokenizer(template)
    end, pad = tokenizer.eos_token_id, tokenizer.pad_token_id
    vocabulary = {"vocab_size": len(tokenizer), "bos_token_id": None, "eos_token_id": end, "pad_token_id": pad}
    config = _config(family, n_layers=n_layers, hidden=hidden, n_context=n_context, vocabulary=vocabulary)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config).eval()
        if config.tie_word_embeddings and family != "gpt2":
            # With large tied embeddings, or attention that drowns them, a random model only repeats itself.
            model.model.embed_tokens.weight.data.mul_(0.4 if family == "qwen3" else 0.2)
            for layer in model.model.layers:
                layer.self_attn.o_proj.weight.data.mul_(0.35 if family == "qwen3" else 1.0)
    model.generation_config = GenerationConfig(eos_token_id=end, pad_token_id=pad)
    folder.mkdir(parents=True, exist_ok=True)
    model.to(getattr(torch, dtype)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def load_plain(folder: Path) -> "PreTrainedModel":
    """The folder as transformers alone loads it: the oracle of many tests."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, use_safetensors=True)
    return model.eval()


def make_adapter(
    base: Path,
    out: Path,
    *,
    seed: int = 0,
    rank: int = 4,
    effect: bool = True,
    targets: Sequence[str] | None = None,
    options: dict[str, Any] | None = None,
) -> Path:
    """Write a LoRA adapter for the model in `base`, through plain peft.

    effect=False leaves lora_B at zero, as peft starts it. `options` are further fields of peft's LoraConfig.
    """
    import torch
    from peft import LoraConfig, get_peft_model

    model = load_plain(base)
    if targets is None:
        targets = ["c_attn", "c_proj"] if model.config.model_type == "gpt2" else ["q_proj", "v_proj", "down_proj"]
    fields = {
        "r": rank, "lora_alpha": 2 * rank, "target_modules": list(targets), "task_type": "CAUSAL_LM",
        "fan_in_fan_out": model.config.model_type == "gpt2",
    }
    config = LoraConfig(**(fields | (options or {})))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        tuned = get_peft_model(model, config)
        if effect:
            with torch.no_grad():
                for name, parameter in tuned.named_parameters():
                    if "lora_B" in name:
                        parameter.normal_(std=0.3)
    tuned.save_pretrained(out, safe_serialization=True)
    return out


_GGUF_NAMES = (
    ("model.embed_tokens", "token_embd"), ("model.norm", "output_norm"), ("lm_head", "output"),
    ("model.layers.", "blk."), ("self_attn.q_proj", "attn_q"), ("self_attn.k_proj", "attn_k"),
    ("self_attn.v_proj", "attn_v"), ("self_attn.o_proj", "attn_output"), ("self_attn.q_norm", "attn_q_norm"),
    ("self_attn.k_norm", "attn_k_norm"), ("mlp.gate_proj", "ffn_gate"), ("mlp.up_proj", "ffn_up"),
    ("mlp.down_proj", "ffn_down"), ("post_attention_layernorm", "ffn_norm"), ("input_layernorm", "attn_norm"),
)


def make_gguf(base: Path, out: Path, *, kind: str = "Q8_0", template: str | None = CHATML) -> Path:
    """Write the llama, qwen2 or qwen3 model in `base` as a GGUF file, matrices as `kind` (F32, Q8_0, Q4_1...)."""
    import gguf
    from safetensors.numpy import load_file
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(base)
    writer = gguf.GGUFWriter(out, config.model_type)
    writer.add_name("tiny")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_vocab_size(config.vocab_size)
    if config.model_type == "llama":
        writer.add_rope_dimension_count(config.head_dim)
    if config.model_type == "qwen3":
        writer.add_key_length(config.head_dim)
        writer.add_value_length(config.head_dim)
    _add_tokenizer(writer, template)
    for name, data in load_file(base / "model.safetensors").items():
        for ours, theirs in _GGUF_NAMES:
            name = name.replace(ours, theirs)
        if config.model_type == "llama" and ("attn_q." in name or "attn_k." in name):
            heads = config.num_attention_heads if "attn_q." in name else config.num_key_value_heads
            # llama.cpp rotates neighbouring pairs, transformers the two halves: the rows change places.
            data = data.reshape(heads, 2, -1, data.shape[1]).swapaxes(1, 2).reshape(data.shape)
        wanted = gguf.GGMLQuantizationType[kind if data.ndim == 2 else "F32"]
        writer.add_tensor(name, gguf.quants.quantize(data, wanted), raw_dtype=wanted)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return out


def _add_tokenizer(writer: Any, template: str | None) -> None:
    import json

    from gguf import TokenType

    tokenizer = make_tokenizer(template)
    pieces = json.loads(_backend().to_str())["model"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    tokens = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    writer.add_token_list(tokens)
    writer.add_token_types([TokenType.CONTROL if text in SPECIALS else TokenType.NORMAL for text in tokens])
    writer.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in pieces["merges"]])
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_pad_token_id(tokenizer.pad_token_id)
    writer.add_add_bos_token(False)
    if template is not None:
        writer.add_chat_template(template)
