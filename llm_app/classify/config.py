"""The options of classifying and of training a classifier, each declared once. No third-party imports."""

import math
from dataclasses import dataclass, replace

from llm_app.errors import UserError
from llm_app.options import check_options, option
from llm_app.training import common

METHODS = ("encoder", "lora", "lstm", "tfidf")
NORMALISATIONS = ("sum", "length")
AUGMENTATIONS = ("none", "delete", "swap")
LEAVE_ONE_OUT, GRADIENT = "leave-one-out", "gradient"
EXPLANATIONS = (LEAVE_ONE_OUT, GRADIENT)  # how it is found which words decided
# Peak rates that the example scripts of each kind of model begin with.
RATES = {"encoder": 1e-4, "lora": 2e-4, "lstm": 2e-3, "tfidf": 0.0}
EPOCHS = {"encoder": 3.0, "lora": 3.0, "lstm": 10.0, "tfidf": 1.0}
# Steps that an automatic number of epochs comes to at least. Of 40 rows of SST-2 three epochs are six steps: the
# embedded encoder is wrong on 0.40 of them then, on 0.47 of others; after 40 steps on 0 and 0.27, after 80 no better.
# An LSTM begins without words and takes more.
LEAST_STEPS = {"encoder": 60, "lora": 60, "lstm": 150, "tfidf": 1}
_LOOP = (
    "epochs", "learning_rate", "batch_size", "max_length", "augmentation", "patience", "warmup", "weight_decay",
    "precision",
)
# Options that a method makes no use of.
IDLE = {"encoder": ("rank",), "lora": (), "lstm": ("rank",), "tfidf": (*_LOOP, "rank")}


@dataclass(frozen=True)
class ZeroShotConfig:
    """How a chat model is asked for a label: the likelihood of each label's word after the filled template."""

    template: str = option(
        "{text}\nQuestion: Which of these is it: {labels}?\nAnswer:", label=("Template", "模板"),
        help=(
            "What stands before the label; {text}, {pair} and {labels} are filled in.",
            "标签之前的文字；{text}、{pair}、{labels} 会被替换。",
        ),
    )
    words: tuple[str, ...] = option(
        (), label=("Label words", "标签词"),
        help=(
            "What the model is scored on instead of each label, in the order of the labels; empty: the labels.",
            "代替各标签、由模型打分的词，顺序与标签一致；留空则用标签本身。",
        ),
    )
    normalisation: str = option(
        "sum", choices=NORMALISATIONS, label=("Label likelihood", "标签似然"),
        help=(
            "sum: of a label's tokens; length: their mean, so that long labels are not at a disadvantage.",
            "sum：标签各词元对数概率之和；length：取平均，避免长标签吃亏。",
        ),
    )
    calibrates: bool = option(
        False, label=("Contextual calibration", "上下文校准"),
        help=(
            "Divides by the probabilities that an empty text gets, so that no label is preferred beforehand.",
            "除以空文本得到的概率，消除模型对某个标签的先验偏好。",
        ),
    )
    n_examples: int = option(
        0, min=0, max=64, step=1, label=("Examples", "示例数"),
        help=(
            "Labelled rows shown before the text, taken in turn from each label; they are not scored.",
            "放在文本之前的已标注样本，轮流取自各标签；这些样本不参与评分。",
        ),
    )
    seed: int = option(
        0, min=0, max=2**31 - 1, step=1, advanced=True, label=("Seed", "随机种子"),
        help=("Decides which examples are shown.", "决定展示哪些示例。"),
    )

    def __post_init__(self) -> None:
        check_options(self)
        if "{text}" not in self.template:
            raise UserError("The template must hold {text}, where the text goes.", param="template")


@dataclass(frozen=True)
class ClassifierConfig:
    """One training of a classifier, complete enough to repeat it."""

    method: str = option(
        "encoder", choices=METHODS, label=("Method", "方法"),
        help=(
            "encoder fine-tunes a BERT-like model; lora puts a head on the chat model; lstm and tfidf are baselines.",
            "encoder 微调类 BERT 模型；lora 在对话模型上加分类头；lstm 与 tfidf 是基线。",
        ),
    )
    epochs: float | None = option(
        None, min=0.01, max=1000.0, step=0.5, label=("Epochs", "轮数"),
        help=(
            "How often each row is seen; empty: 3 (lstm 10), or more on few rows, for 60 steps in all (lstm 150).",
            "每一行被看到的次数；留空：3（lstm 为 10）；行数少时更多，总共至少 60 步（lstm 为 150）。",
        ),
    )
    learning_rate: float | None = option(
        None, min=1e-9, max=1.0, label=("Learning rate", "学习率"),
        help=(
            "Peak rate of AdamW; empty: 1e-4 (encoder), 2e-4 (lora), 2e-3 (lstm).",
            "AdamW 的最高学习率；留空：encoder 1e-4，lora 2e-4，lstm 2e-3。",
        ),
    )
    batch_size: int = option(
        32, min=1, max=1024, step=1, label=("Batch size", "批大小"),
        help=("Rows in one optimiser step.", "一次优化步使用的行数。"),
    )
    max_length: int = option(
        128, min=8, max=8192, step=8, label=("Cut-off length", "截断长度"),
        help=("Tokens of a row at most; what is longer is cut, and told.", "一行最多的词元数；更长的会被截断并告知。"),
    )
    validation: float = common.validation_share((
        "Held back from training; the weights with the best score on it are kept, and it sets the temperature.",
        "不参与训练；保留其上得分最好的权重，并用它拟合温度。",
    ))
    test: float = common.test_share((
        "Held back for the scores alone: never trained on, nor used to choose anything.",
        "只用于评分：既不参与训练，也不用来做任何选择。",
    ))
    weighs_classes: bool = option(
        False, label=("Class weights", "类别权重"),
        help=(
            "Rare labels count more in the loss: each label as much as any other in total.",
            "稀有标签在损失中权重更大：各标签的总权重相等。",
        ),
    )
    augmentation: str = option(
        "none", choices=AUGMENTATIONS, advanced=True, label=("Augmentation", "数据增强"),
        help=(
            "Each epoch sees another version of a row: some words left out, or some neighbours swapped.",
            "每一轮看到同一行的不同版本：随机删去一些词，或交换相邻的词。",
        ),
    )
    patience: int = common.patience()
    warmup: float = common.warmup(0.1)
    weight_decay: float = common.weight_decay(0.01)
    rank: int = option(
        16, min=1, max=256, step=1, advanced=True, label=("Rank", "秩"),
        help=("Size of the LoRA matrices (method lora).", "LoRA 矩阵的大小（方法 lora）。"),
    )
    precision: str = common.precision()
    seed: int = common.seed((
        "Decides the split, the order of the rows, the first weights and dropout.",
        "决定划分、行的顺序、初始权重和 dropout。",
    ))

    def __post_init__(self) -> None:
        check_options(self)
        common.check_held_back(self.validation, self.test, "rows")
        common.check_patience(self.patience, self.validation)
        common.check_idle(self, IDLE)
        if self.method == "lstm" and self.precision == "bf16":
            raise UserError("An LSTM is computed in fp32: choose precision auto or fp32.", param="precision")

    @property
    def n_epochs(self) -> float:
        """The epochs in effect."""
        return EPOCHS[self.method] if self.epochs is None else self.epochs

    def for_rows(self, n_rows: int) -> "ClassifierConfig":
        """With its epochs written out: on few rows to train on, automatic ones are as many as LEAST_STEPS take."""
        if self.epochs is not None or self.method == "tfidf":
            return self
        n_steps_an_epoch = math.ceil(n_rows / self.batch_size)
        return replace(self, epochs=max(self.n_epochs, float(math.ceil(LEAST_STEPS[self.method] / n_steps_an_epoch))))

    @property
    def schedule(self) -> str:
        """How the rate falls after the warm-up: as in the example scripts."""
        return "linear"

    @property
    def peak_rate(self) -> float:
        """The learning rate in effect."""
        return RATES[self.method] if self.learning_rate is None else self.learning_rate
