"""Tiny encoders with random weights, written by transformers as people's are."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

WORDS = (
    "an", "and", "bad", "best", "boring", "brilliant", "but", "dull", "film", "fine", "funny", "good", "great", "in",
    "is", "it", "movie", "not", "of", "one", "plot", "so", "story", "terrible", "the", "this", "to", "very", "was",
    "what", "with", "you", "anna", "lives", "likes", "london", "paris", "rain", "##ing", "北", "京",
)  # fmt: skip


def make_word_pieces(n_context: int) -> "PreTrainedTokenizerBase":
    """A WordPiece tokenizer as BERT's: the words above whole, all others in letters."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertTokenizer

    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = [chr(code) for code in range(33, 127) if not chr(code).isupper()]
    pieces = [*specials, *letters, *(f"##{letter}" for letter in letters), *WORDS]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])],
    )
    return BertTokenizer(tokenizer_object=tokenizer, model_max_length=n_context)


def make_bytes(texts: Sequence[str], n_context: int) -> "PreTrainedTokenizerBase":
    """A byte-level BPE tokenizer as RoBERTa's: a word has pieces of its own behind a space."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import RobertaTokenizer

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    specials = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    learning = trainers.BpeTrainer(
        special_tokens=specials, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), vocab_size=400,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, learning)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    return RobertaTokenizer(tokenizer_object=tokenizer, model_max_length=n_context)


def make_encoder(
    folder: Path, labels: Sequence[str] = ("negative", "positive"), *, problem: str | None = None,
    has_head: bool = True, n_context: int = 64, seed: int = 0,
) -> Path:
    """Write a two-layer BERT with its tokenizer; `problem`: transformers' `problem_type`."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification, BertModel

    tokenizer = make_word_pieces(n_context)
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
        max_position_embeddings=n_context, initializer_range=0.3, problem_type=problem,
        id2label=dict(enumerate(labels)), label2id={label: number for number, label in enumerate(labels)},
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = (BertForSequenceClassification if has_head else BertModel)(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
