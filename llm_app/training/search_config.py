"""The options of a search, each declared once. No third-party imports."""

from dataclasses import dataclass

from llm_app.options import check_options, option
from llm_app.training.search_proposals import STRATEGIES


@dataclass(frozen=True)
class SearchConfig:
    """How settings are searched for. What all trials share, the seed among it, stands in the options of one trial."""

    space: tuple[str, ...] = option(
        (), label=("Search space", "搜索空间"),
        help=(
            "An option and what to try of it: rank=8,16,32, dropout=0..0.2, learning_rate=1e-5..1e-3:log (:5 behind a"
            " range takes five values of it), use_dora; none is an option left empty.",
            "选项及要尝试的值：rank=8,16,32、dropout=0..0.2、learning_rate=1e-5..1e-3:log（范围后加 :5 表示取五个值）、"
            "use_dora；none 表示该选项留空。",
        ),
    )
    strategy: str = option(
        "bayes", choices=STRATEGIES, label=("Strategy", "策略"),
        help=(
            "grid tries all combinations in order, random draws them, bayes learns from earlier trials (Optuna's TPE).",
            "grid 依次尝试所有组合，random 随机抽取，bayes 从已有试验中学习（Optuna 的 TPE）。",
        ),
    )
    trials: int = option(
        20, min=1, max=10_000, step=1, label=("Trials at most", "最多试验数"),
        help=("Ends after so many settings were tried.", "尝试这么多组设置后结束。"),
    )
    minutes: float | None = option(
        None, min=0.01, max=100_000.0, label=("Minutes at most", "最多分钟数"),
        help=(
            "Ends after so long, in the middle of a trial if need be; empty: no limit.",
            "到时即结束，必要时中断试验；留空则不限时。",
        ),
    )

    def __post_init__(self) -> None:
        check_options(self)
