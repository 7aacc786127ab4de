"""Options that every kind of training has, declared once. No third-party imports."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from llm_app.errors import UserError
from llm_app.options import Text, option

LARGEST_HELD = 0.9  # share of the data that validation and test may not reach together


def validation_share(help: Text) -> Any:
    """What weights are chosen by."""
    return _share(("Validation share", "验证集比例"), help)


def test_share(help: Text) -> Any:
    """What nothing is chosen by."""
    return _share(("Test share", "测试集比例"), help)


def seed(help: Text) -> Any:
    """What decides all that is left to chance."""
    return option(0, min=0, max=2**31 - 1, step=1, label=("Seed", "随机种子"), help=help)


def precision() -> Any:
    """Of the pass through the model."""
    return option(
        "auto", choices=("auto", "bf16", "fp32"), advanced=True, label=("Computed in", "计算精度"),
        help=(
            "What passes through the model; trained weights are kept in fp32 always.",
            "模型前向使用的精度；训练的权重始终以 fp32 保存。",
        ),
    )


def warmup(default: float) -> Any:
    """Share of the steps."""
    return option(
        default, min=0.0, max=0.9, step=0.01, advanced=True, label=("Warm-up", "预热"),
        help=("Share of the steps in which the rate rises to its peak.", "学习率升到峰值所用步数的比例。"),
    )


def weight_decay(default: float) -> Any:
    """AdamW's."""
    return option(
        default, min=0.0, max=10.0, step=0.01, advanced=True, label=("Weight decay", "权重衰减"),
        help=("Pulls trained weights towards zero at each step (AdamW).", "每一步把训练的权重拉向零（AdamW）。"),
    )


def patience() -> Any:
    """Validations without gain."""
    return option(
        0, min=0, max=1000, step=1, advanced=True, label=("Early stopping", "早停"),
        help=("Ends after so many validations without gain; 0 is off.", "连续这么多次验证没有改进就结束；0 表示关闭。"),
    )


def check_held_back(validation: float, test: float, what: str) -> None:
    """Raises: UserError if too little is left to train on. `what`: is split."""
    if validation + test >= LARGEST_HELD:
        raise UserError(
            f"Validation and test together must hold back less than {LARGEST_HELD:g} of the {what}.", param="test"
        )


def check_patience(patience: int, validation: float) -> None:
    """Raises: UserError for early stopping without anything to stop by."""
    if patience and not validation:
        raise UserError(
            "Early stopping (patience) goes by rows held back, and none are: set validation above 0.", param="patience"
        )


def check_idle(config: Any, idle: Mapping[str, Sequence[str]]) -> None:
    """`idle`: method -> options that it makes no use of.

    Raises: UserError naming the first of them that is not as it is by default.
    """
    defaults = {item.name: item.default for item in fields(config)}
    for name in idle[config.method]:
        if getattr(config, name) != defaults[name]:
            raise UserError(f"Method {config.method} makes no use of {name}: leave it out.", param=name)


def _share(label: Text, help: Text) -> Any:
    return option(0.1, min=0.0, max=0.5, step=0.01, label=label, help=help)
