"""The options of training a tagger of entities, each declared once. No third-party imports."""

from dataclasses import dataclass

from llm_app.classify.config import LARGEST_HELD
from llm_app.errors import UserError
from llm_app.options import check_options, option

METHODS = ("encoder", "features")


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
    peak_rate: float = option(
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
    validation: float = option(
        0.1, min=0.0, max=0.5, step=0.01, label=("Validation share", "验证集比例"),
        help=(
            "Held back from training; the weights with the best span F1 on it are kept.",
            "不参与训练；保留其上实体 F1 最高的权重。",
        ),
    )
    test: float = option(
        0.1, min=0.0, max=0.5, step=0.01, label=("Test share", "测试集比例"),
        help=(
            "Held back for the scores alone; not used where a file to test on is given.",
            "只用于评分；另给测试文件时不使用。",
        ),
    )
    patience: int = option(
        0, min=0, max=1000, step=1, advanced=True, label=("Early stopping", "早停"),
        help=("Ends after so many validations without gain; 0 is off.", "连续这么多次验证没有改进就结束；0 表示关闭。"),
    )
    warmup: float = option(
        0.1, min=0.0, max=0.9, step=0.01, advanced=True, label=("Warm-up", "预热"),
        help=("Share of the steps in which the rate rises to its peak.", "学习率升到峰值所用步数的比例。"),
    )
    weight_decay: float = option(
        0.01, min=0.0, max=10.0, step=0.01, advanced=True, label=("Weight decay", "权重衰减"),
        help=("Pulls weights towards zero at each step (AdamW).", "每一步把权重拉向零（AdamW）。"),
    )
    precision: str = option(
        "auto", choices=("auto", "bf16", "fp32"), advanced=True, label=("Computed in", "计算精度"),
        help=(
            "What passes through the model; trained weights are kept in fp32 always.",
            "模型前向使用的精度；训练的权重始终以 fp32 保存。",
        ),
    )
    seed: int = option(
        0, min=0, max=2**31 - 1, step=1, label=("Seed", "随机种子"),
        help=(
            "Decides the split, the order of the sentences, the first weights and dropout.",
            "决定划分、句子的顺序、初始权重和 dropout。",
        ),
    )

    schedule = "linear"  # how the rate falls to zero after the warm-up

    def __post_init__(self) -> None:
        check_options(self)
        if self.validation + self.test >= LARGEST_HELD:
            raise UserError(
                f"Validation and test together must hold back less than {LARGEST_HELD:g} of the sentences.",
                param="test",
            )
