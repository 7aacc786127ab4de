"""The options of training a tagger of entities, each declared once. No third-party imports."""

from dataclasses import dataclass

from llm_app.options import check_options, option
from llm_app.training import common

METHODS = ("encoder", "features")
_LOOP = ("epochs", "learning_rate", "batch_size", "max_length", "patience", "warmup", "weight_decay", "precision")
IDLE = {"encoder": (), "features": _LOOP}  # options that a method makes no use of


@dataclass(frozen=True)
class EntityConfig:
    """One training of a tagger, complete enough to repeat it."""

    method: str = option(
        "encoder", choices=METHODS, label=("Method", "方法"),
        help=(
            "encoder fine-tunes a BERT-like model; features is the baseline, which is always scored beside it.",
            "encoder 微调类 BERT 模型；features 是基线，总会一并评分。",
        ),
    )
    epochs: float = option(
        6.0, min=0.01, max=1000.0, step=0.5, label=("Epochs", "轮数"),
        help=("How often each sentence is seen.", "每个句子被看到的次数。"),
    )
    learning_rate: float = option(
        3e-4, min=1e-9, max=1.0, label=("Learning rate", "学习率"),
        help=("Peak rate of AdamW.", "AdamW 的最高学习率。"),
    )
    batch_size: int = option(
        16, min=1, max=1024, step=1, label=("Batch size", "批大小"),
        help=("Sentences in one optimiser step.", "一次优化步使用的句子数。"),
    )
    max_length: int = option(
        256, min=8, max=8192, step=8, label=("Cut-off length", "截断长度"),
        help=(
            "Tokens of a sentence at most; words beyond are cut, told, and count as O in the score.",
            "一句最多的词元数；超出的词会被截去并告知，评分时算作 O。",
        ),
    )
    validation: float = common.validation_share((
        "Held back from training; the weights with the best span F1 on it are kept.",
        "不参与训练；保留其上实体 F1 最高的权重。",
    ))
    test: float = common.test_share((
        "Held back for the scores alone; not used where a file to test on is given.",
        "只用于评分；另给测试文件时不使用。",
    ))
    patience: int = common.patience()
    warmup: float = common.warmup(0.1)
    weight_decay: float = common.weight_decay(0.01)
    precision: str = common.precision()
    seed: int = common.seed((
        "Decides the split, the order of the sentences, the first weights and dropout.",
        "决定划分、句子的顺序、初始权重和 dropout。",
    ))

    def __post_init__(self) -> None:
        check_options(self)
        common.check_held_back(self.validation, self.test, "sentences")
        common.check_patience(self.patience, self.validation)
        common.check_idle(self, IDLE)

    @property
    def n_epochs(self) -> float:
        """How often each sentence is seen."""
        return self.epochs

    @property
    def schedule(self) -> str:
        """How the rate falls after the warm-up."""
        return "linear"

    @property
    def peak_rate(self) -> float:
        """The highest learning rate."""
        return self.learning_rate
