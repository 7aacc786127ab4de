"""The options of classifying and of training a classifier, each declared once. No third-party imports."""

from dataclasses import dataclass

from llm_app.errors import UserError
from llm_app.options import check_options, option

METHODS = ("encoder", "lora", "lstm", "tfidf")
NORMALISATIONS = ("sum", "length")
AUGMENTATIONS = ("none", "delete", "swap")
# Peak rates that the example scripts of each kind of model begin with.
RATES = {"encoder": 1e-4, "lora": 2e-4, "lstm": 2e-3, "tfidf": 0.0}
EPOCHS = {"encoder": 3.0, "lora": 3.0, "lstm": 10.0, "tfidf": 1.0}
LARGEST_HELD = 0.9  # share of the rows that validation and test may not reach together


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
            "How often each row is seen; empty: 3 (encoder, lora) or 10 (lstm).",
            "每一行被看到的次数；留空：encoder、lora 为 3，lstm 为 10。",
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
    validation: float = option(
        0.1, min=0.0, max=0.5, step=0.01, label=("Validation share", "验证集比例"),
        help=(
            "Held back from training; the weights with the best score on it are kept, and it sets the temperature.",
            "不参与训练；保留其上得分最好的权重，并用它拟合温度。",
        ),
    )
    test: float = option(
        0.1, min=0.0, max=0.5, step=0.01, label=("Test share", "测试集比例"),
        help=(
            "Held back for the scores alone: never trained on, nor used to choose anything.",
            "只用于评分：既不参与训练，也不用来做任何选择。",
        ),
    )
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
    rank: int = option(
        16, min=1, max=256, step=1, advanced=True, label=("Rank", "秩"),
        help=("Size of the LoRA matrices (method lora).", "LoRA 矩阵的大小（方法 lora）。"),
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
            "Decides the split, the order of the rows, the first weights and dropout.",
            "决定划分、行的顺序、初始权重和 dropout。",
        ),
    )

    def __post_init__(self) -> None:
        check_options(self)
        if self.validation + self.test >= LARGEST_HELD:
            raise UserError(
                f"Validation and test together must hold back less than {LARGEST_HELD:g} of the rows.", param="test"
            )

    @property
    def n_epochs(self) -> float:
        """The epochs in effect."""
        return EPOCHS[self.method] if self.epochs is None else self.epochs

    @property
    def schedule(self) -> str:
        """How the rate falls after the warm-up: as in the example scripts."""
        return "linear"

    @property
    def peak_rate(self) -> float:
        """The learning rate in effect."""
        return RATES[self.method] if self.learning_rate is None else self.learning_rate
