"""How tasks are asked, as the form of the Benchmark tab has it."""

from dataclasses import dataclass

from eval.tasks.harness import TaskOptions
from llm_app.config import SAMPLES, SEEDS, SHOTS
from llm_app.engine.loading import LoadedModel
from llm_app.jobs.doctor import is_base_model
from llm_app.options import check_options, option


@dataclass(frozen=True)
class BenchmarkConfig:
    """One benchmark, besides its tasks and its model."""

    n_shots: int | None = option(
        None,
        min=SHOTS[0],
        max=SHOTS[1],
        label=("Shots", "示例数"),
        help=(
            "Examples before each question; empty is the task's own number.",
            "每题前的示例数；留空则用任务自带的数目。",
        ),
    )
    limit: int | None = option(
        None,
        min=SAMPLES[0],
        max=SAMPLES[1],
        label=("Limit", "样本上限"),
        help=(
            "First samples of each task; empty is the suite's number, or all.",
            "每个任务只取前若干条；留空则按套件规定或取全部。",
        ),
    )
    example_seed: int | None = option(
        None,
        min=SEEDS[0],
        max=SEEDS[1],
        label=("Seed", "随机种子"),
        help=("For the choice of examples; empty is the harness's own.", "用于挑选示例；留空则用评测框架自带的种子。"),
    )
    chat_template: str = option(
        "auto",
        choices=("auto", "on", "off"),
        label=("Chat template", "对话模板"),
        help=(
            "auto uses it where the model has one, unless its name says that it is a base model.",
            "auto：模型自带模板时使用，名称表明是基础模型的除外。",
        ),
    )
    compare_with_base: bool = option(
        False,
        label=("Compare with the base", "与基础模型比较"),
        help=(
            "Asks the base the same samples first, in the same loaded model; takes twice the time.",
            "先让同一已加载模型的基础权重回答相同样本；耗时加倍。",
        ),
    )
    allows_code: bool = option(
        False,
        advanced=True,
        label=("Run code that the model writes", "运行模型编写的代码"),
        help=(
            "Tasks such as humaneval need it. The code runs in a limited child process, but it is not yours: only for"
            " models that you trust.",
            "humaneval 等任务需要。代码在受限的子进程中运行，但并非出自你手：仅用于你信任的模型。",
        ),
    )

    def __post_init__(self) -> None:
        check_options(self)

    def uses_chat_template(self, loaded: LoadedModel | None) -> bool:
        """Whether prompts go through the model's chat template; what another server's model has, nobody here knows."""
        if self.chat_template == "auto":
            return loaded is not None and loaded.template is not None and not is_base_model(loaded)
        return self.chat_template == "on"

    def task_options(self, loaded: LoadedModel | None) -> TaskOptions:
        """The same for this model, as the tasks take it."""
        return TaskOptions(
            self.n_shots, self.limit, self.example_seed, self.uses_chat_template(loaded), self.allows_code
        )
