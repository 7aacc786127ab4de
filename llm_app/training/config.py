"""The options of one training run, each declared once. No third-party imports."""

from dataclasses import dataclass

from llm_app.errors import UserError
from llm_app.options import check_options, option
from llm_app.training import common

METHODS = ("lora", "qlora", "full")
QUANTIZATIONS = ("nf4", "int8")
SCHEDULES = ("linear", "cosine", "constant")
REPORTS = ("none", "tensorboard", "trackio")
OBJECTIVES = ("sft", "dpo")
# Pairs say little about each answer and a lot about the difference: smaller steps than for answers alone.
LORA_RATE, FULL_RATE, DPO_RATE = 2e-4, 2e-5, 2e-5
CPU_LENGTH, GPU_LENGTH = 512, 2048


@dataclass(frozen=True)
class TrainConfig:
    """One training run, complete enough to repeat it."""

    method: str = option(
        "lora", choices=METHODS, label=("Method", "方法"),
        help=(
            "LoRA trains small matrices beside frozen weights; QLoRA does so over quantized ones; full trains all.",
            "LoRA 在冻结的权重旁训练小矩阵；QLoRA 在量化权重上做同样的事；full 训练全部权重。",
        ),
    )
    epochs: float = option(
        3.0, min=0.01, max=1000.0, step=0.5, label=("Epochs", "轮数"),
        help=(
            "How often each example is seen. A number of steps below goes first.",
            "每个样本被看到的次数。若指定了步数，以步数为准。",
        ),
    )
    max_steps: int | None = option(
        None, min=1, max=1_000_000, step=1, label=("Steps at most", "最多步数"),
        help=(
            "Ends after so many optimiser steps; empty: the epochs decide.",
            "到达该优化步数即结束；留空则由轮数决定。",
        ),
    )
    learning_rate: float | None = option(
        None, min=1e-9, max=1.0, label=("Learning rate", "学习率"),
        help=(
            "Peak rate of AdamW; empty: 2e-4 for LoRA, 2e-5 for full and for dpo.",
            "AdamW 的最高学习率；留空：LoRA 为 2e-4，全量和 dpo 为 2e-5。",
        ),
    )
    batch_size: int = option(
        2, min=1, max=1024, step=1, label=("Batch size", "批大小"),
        help=(
            "Examples in one pass through the model; with packing, more of them while they are short.",
            "一次前向传播的样本数；打包时，短样本会多放几个。",
        ),
    )
    accumulation: int = option(
        8, min=1, max=1024, step=1, label=("Accumulation", "梯度累积"),
        help=(
            "Batches before the weights change; the loss is averaged over all their trained tokens.",
            "更新权重前累积的批数；损失按其中参与训练的词元取平均。",
        ),
    )
    max_length: int | None = option(
        None, min=8, max=131072, step=8, label=("Cut-off length", "截断长度"),
        help=(
            "Tokens of an example at most; empty: 512 on a CPU, 2048 on a GPU.",
            "一个样本最多的词元数；留空：CPU 上 512，GPU 上 2048。",
        ),
    )
    rank: int = option(
        16, min=1, max=256, step=1, label=("Rank", "秩"),
        help=("Size of the LoRA matrices.", "LoRA 矩阵的大小。"),
    )
    alpha: float = option(
        32.0, min=0.01, max=4096.0, step=1.0, label=("Alpha", "Alpha"),
        help=("The LoRA product is scaled by alpha / rank.", "LoRA 乘积按 alpha / 秩 缩放。"),
    )
    dropout: float = option(
        0.0, min=0.0, max=0.95, step=0.01, label=("Dropout", "Dropout 比例"),
        help=("Share of a LoRA layer's inputs set to zero while training.", "训练时 LoRA 层输入被置零的比例。"),
    )
    validation: float = common.validation_share((
        "Held back from training; of all weights on the way, those with the lowest loss on it are kept.",
        "不参与训练；训练途中在这部分上损失最低的权重会被保留。",
    ))
    test: float = common.test_share((
        'Held back for "Did it help?" alone: never trained on, nor used to choose anything.',
        "只留给“有没有帮助？”：既不参与训练，也不用来做任何选择。",
    ))
    seed: int = common.seed((
        "Decides the split, the order of the examples, the first weights and dropout.",
        "决定划分、样本顺序、初始权重和 dropout。",
    ))
    objective: str = option(
        "sft", choices=OBJECTIVES, advanced=True, label=("Objective", "目标"),
        help=(
            "sft learns the answers; dpo learns to prefer the better answer of each pair (preference data, votes).",
            "sft 学习回答本身；dpo 学习偏好每一对中更好的回答（偏好数据、投票）。",
        ),
    )
    beta: float = option(
        0.1, min=0.001, max=10.0, step=0.01, advanced=True, label=("DPO beta", "DPO 的 beta"),
        help=(
            "How strongly DPO holds the model to what it was before; larger stays closer.",
            "DPO 把模型约束在原状附近的强度；越大越接近原模型。",
        ),
    )
    targets: tuple[str, ...] = option(
        (), advanced=True, label=("Trained layers", "训练的层"),
        help=(
            "Names such as q_proj v_proj; empty: all linear layers but the output layer.",
            "如 q_proj v_proj；留空：除输出层外的全部线性层。",
        ),
    )
    quantization: str = option(
        "nf4", choices=QUANTIZATIONS, advanced=True, label=("QLoRA weights", "QLoRA 权重"),
        help=("How QLoRA holds the frozen weights.", "QLoRA 冻结权重的存放方式。"),
    )
    precision: str = common.precision()
    device: str = option(
        "auto", choices=("auto", "cpu", "cuda"), advanced=True, label=("Device", "设备"),
        help=("Where it computes.", "在哪里计算。"),
    )
    use_rslora: bool = option(
        False, advanced=True, label=("rsLoRA", "rsLoRA"),
        help=("Scales by alpha / √rank, which keeps large ranks trainable.", "按 alpha / √秩 缩放，使大秩也能训练。"),
    )
    use_dora: bool = option(
        False, advanced=True, label=("DoRA", "DoRA"),
        help=(
            "Trains the length of each weight column apart from its direction; slower.",
            "把每列权重的长度与方向分开训练；较慢。",
        ),
    )
    schedule: str = option(
        "cosine", choices=SCHEDULES, advanced=True, label=("Schedule", "学习率计划"),
        help=("How the rate falls after the warm-up.", "预热之后学习率如何下降。"),
    )
    warmup: float = common.warmup(0.03)
    weight_decay: float = common.weight_decay(0.0)
    max_gradient_norm: float = option(
        1.0, min=0.0, max=1000.0, step=0.1, advanced=True, label=("Gradient clipping", "梯度裁剪"),
        help=("A longer gradient is cut to this length; 0 is off.", "更长的梯度被截到该长度；0 表示关闭。"),
    )
    packs: bool = option(
        True, advanced=True, label=("Packing", "打包"),
        help=(
            "Examples of a batch share one row without padding; none sees another.",
            "一批样本排成一行，不用填充；样本之间互不可见。",
        ),
    )
    responses_only: bool = option(
        True, advanced=True, label=("Train on responses only", "只训练回复"),
        help=("The loss is taken on the answers, not on the questions.", "只在回答上计算损失，不在问题上计算。"),
    )
    neftune: float = option(
        0.0, min=0.0, max=100.0, step=1.0, advanced=True, label=("NEFTune noise", "NEFTune 噪声"),
        help=(
            "Noise added to the embeddings while training; 5 is usual, 0 is off.",
            "训练时加到嵌入上的噪声；常用 5，0 表示关闭。",
        ),
    )
    checkpoints_gradients: bool = option(
        False, advanced=True, label=("Gradient checkpointing", "梯度检查点"),
        help=(
            "Computes activations twice instead of keeping them: less memory, slower.",
            "不保存激活而是重算：更省内存，更慢。",
        ),
    )
    validate_every: int | None = option(
        None, min=1, max=1_000_000, step=1, advanced=True, label=("Validate every", "验证间隔"),
        help=("Steps between validations; empty: ten a run.", "两次验证之间的步数；留空：每次运行十次。"),
    )
    save_every: int | None = option(
        None, min=1, max=1_000_000, step=1, advanced=True, label=("Save every", "保存间隔"),
        help=("Steps between checkpoints; empty: with each validation.", "两次检查点之间的步数；留空：随每次验证。"),
    )
    keep: int = option(
        2, min=1, max=100, step=1, advanced=True, label=("Checkpoints kept", "保留的检查点"),
        help=(
            "Older ones are deleted once a new one is verified; the best one stays.",
            "新检查点核验后删除更旧的；最好的一个保留。",
        ),
    )
    patience: int = common.patience()
    smallest_gain: float = option(
        0.0, min=0.0, max=10.0, step=0.001, advanced=True, label=("Smallest gain", "最小改进"),
        help=("A fall of the validation loss by less than this is no gain.", "验证损失下降少于该值不算改进。"),
    )
    report_to: str = option(
        "none", choices=REPORTS, advanced=True, label=("Report to", "上报到"),
        help=(
            "Also write the figures for TensorBoard or trackio, on this machine.",
            "同时在本机写出 TensorBoard 或 trackio 数据。",
        ),
    )

    def __post_init__(self) -> None:
        check_options(self)
        common.check_held_back(self.validation, self.test, "examples")
        if self.method == "full" and (self.use_dora or self.use_rslora):
            raise UserError(
                "DoRA and rsLoRA are kinds of LoRA: choose method lora or qlora, or switch them off.", param="method"
            )
        if self.method == "full" and self.objective == "dpo":
            raise UserError("Preference tuning (dpo) trains a LoRA: choose method lora or qlora.", param="method")

    @property
    def peak_rate(self) -> float:
        """The learning rate in effect."""
        if self.learning_rate is not None:
            return self.learning_rate
        if self.objective == "dpo":
            return DPO_RATE
        return FULL_RATE if self.method == "full" else LORA_RATE
