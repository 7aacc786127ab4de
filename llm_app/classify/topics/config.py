"""The options of the embedding view, each declared once. No third-party imports."""

from collections.abc import Mapping
from dataclasses import dataclass

from llm_app.options import check_options, option
from llm_app.training.common import check_idle

# Options that a method makes no use of.
IDLE: Mapping[str, tuple[str, ...]] = {"kmeans": ("least_size",), "hdbscan": ("n_topics",)}


@dataclass(frozen=True)
class TopicsConfig:
    """How texts are put into topics, complete enough to repeat it."""

    method: str = option(
        "kmeans", choices=("kmeans", "hdbscan"), label=("Clusters", "聚类方法"),
        help=(
            "kmeans puts every text into a topic; hdbscan finds dense groups and leaves the rest out.",
            "kmeans 把每条文本归入一个主题；hdbscan 只找密集的群，其余不归类。",
        ),
    )
    n_topics: int | None = option(
        None, min=2, max=200, step=1, label=("Topics", "主题数"),
        help=(
            "How many (kmeans); empty: the number with the best silhouette.",
            "主题数量（kmeans）；留空则取轮廓系数最高的数目。",
        ),
    )
    positions: str = option(
        "pca", choices=("pca", "tsne"), label=("Positions", "平面位置"),
        help=(
            "pca keeps large distances and is quick; tsne keeps neighbours together.",
            "pca 保留大的距离，速度快；tsne 让相邻的点保持相邻。",
        ),
    )
    n_words: int = option(
        8, min=1, max=50, step=1, advanced=True, label=("Key words", "关键词数"),
        help=("Of each topic.", "每个主题的关键词数量。"),
    )
    n_examples: int = option(
        3, min=1, max=50, step=1, advanced=True, label=("Examples", "示例数"),
        help=("Texts nearest to each topic's centre.", "每个主题中离中心最近的文本数量。"),
    )
    least_size: int = option(
        10, min=2, max=10_000, step=1, advanced=True, label=("Smallest topic", "最小主题"),
        help=("Texts that make a topic (hdbscan).", "构成一个主题所需的最少文本数（hdbscan）。"),
    )
    seed: int = option(
        0, min=0, max=2**31 - 1, step=1, advanced=True, label=("Seed", "随机种子"),
        help=("Decides the first centres and positions.", "决定初始中心和初始位置。"),
    )

    def __post_init__(self) -> None:
        check_options(self)
        check_idle(self, IDLE)
