"""All options, each declared once: default, range, label and help in English and Chinese.

From one field come the form control, the command-line flag, the JSON key and the line in the docs.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from llm_app.errors import UserError
from llm_app.options import check_options, option

PRECISIONS = ("auto", "fp32", "bf16", "int8", "nf4", "fp4", "gguf")
SHOTS, SAMPLES, SEEDS = (0, 64), (1, 1_000_000), (0, 2**31 - 1)  # of a benchmark: least and most


@dataclass(frozen=True)
class SamplingConfig:
    """How the next token is chosen, and when a reply ends."""

    temperature: float = option(
        0.7,
        min=0.0,
        max=2.0,
        step=0.05,
        label=("Temperature", "温度"),
        help=("Divides the logits; 0 always takes the most likely token.", "除以 logits；0 表示总取概率最大的词元。"),
    )
    top_p: float = option(
        0.95,
        min=0.01,
        max=1.0,
        step=0.01,
        label=("Top-p", "Top-p"),
        help=(
            "Keep the smallest set of tokens whose probabilities add up to this.",
            "保留概率之和达到该值的最小词元集合。",
        ),
    )
    max_new_tokens: int = option(
        512,
        min=1,
        max=131072,
        step=1,
        label=("Max new tokens", "最多生成词元数"),
        help=("The reply ends after this many tokens at the latest.", "回复最多生成这么多词元。"),
    )
    top_k: int = option(
        20,
        min=0,
        max=200,
        step=1,
        advanced=True,
        label=("Top-k", "Top-k"),
        help=("Keep the k most likely tokens; 0 keeps all.", "只保留概率最大的 k 个词元；0 表示全部保留。"),
    )
    min_p: float = option(
        0.0,
        min=0.0,
        max=1.0,
        step=0.01,
        advanced=True,
        label=("Min-p", "Min-p"),
        help=(
            "Drop tokens less likely than this share of the most likely one.",
            "去掉概率低于最大概率这一比例的词元。",
        ),
    )
    repetition_penalty: float = option(
        1.0,
        min=1.0,
        max=2.0,
        step=0.01,
        advanced=True,
        label=("Repetition penalty", "重复惩罚"),
        help=(
            "Divides positive logits of tokens already seen, multiplies negative ones; 1 is off.",
            "对已出现词元的正 logits 做除法、负 logits 做乘法；1 表示关闭。",
        ),
    )
    presence_penalty: float = option(
        0.0,
        min=0.0,
        max=2.0,
        step=0.05,
        advanced=True,
        label=("Presence penalty", "存在惩罚"),
        help=(
            "Subtracted once from the logit of each token already in the reply.",
            "对回复中已出现的词元，logit 减去该值一次。",
        ),
    )
    frequency_penalty: float = option(
        0.0,
        min=0.0,
        max=2.0,
        step=0.05,
        advanced=True,
        label=("Frequency penalty", "频率惩罚"),
        help=("Subtracted for each time the token stands in the reply.", "回复中该词元每出现一次，logit 就减去该值。"),
    )
    no_repeat_ngram: int = option(
        0,
        min=0,
        max=20,
        step=1,
        advanced=True,
        label=("No-repeat n-gram", "禁止重复 n 元组"),
        help=("No sequence of this many tokens occurs twice; 0 is off.", "这么长的词元序列不会出现两次；0 表示关闭。"),
    )
    n_beams: int = option(
        1,
        min=1,
        max=8,
        step=1,
        advanced=True,
        label=("Beams", "束宽"),
        help=(
            "Beam search keeps this many candidates; above 1 it does not sample and the text comes at the end.",
            "束搜索保留的候选数；大于 1 时不再采样，文本在结束时一次给出。",
        ),
    )
    stop: tuple[str, ...] = option(
        (),
        advanced=True,
        label=("Stop strings", "停止字符串"),
        help=("The reply ends before any of these, one a line.", "遇到其中任一字符串前结束回复，每行一个。"),
    )
    seed: int | None = option(
        None,
        min=0,
        max=2**63 - 1,
        step=1,
        advanced=True,
        label=("Seed", "随机种子"),
        help=("Empty draws one; the seed used is shown with the reply.", "留空则随机选取；所用种子随回复显示。"),
    )
    reply_prefix: str = option(
        "",
        advanced=True,
        label=("Start the reply with", "回复开头"),
        help=("The model goes on from this text.", "模型从这段文字继续写。"),
    )
    ignore_eos: bool = False  # benchmarks of speed only
    n_logprobs: int | None = None  # None: none; k: the chosen token and the k most likely ones

    def __post_init__(self) -> None:
        check_options(self)
        if any(text == "" for text in self.stop):
            raise UserError("stop must not contain an empty string.", param="stop")
        if len(self.stop) > 16 or any(len(text) > 256 for text in self.stop):
            raise UserError("stop takes at most 16 strings of at most 256 characters.", param="stop")
        if self.n_logprobs is not None and not 0 <= self.n_logprobs <= 20:
            raise UserError("logprobs must be between 0 and 20.", param="logprobs")

    @property
    def is_greedy(self) -> bool:
        """Whether the most likely token is always taken."""
        return self.temperature < 1e-5 or self.top_k == 1  # dividing by less overflows


@dataclass(frozen=True)
class ModelConfig:
    """Which model, in which numbers, where."""

    model: str = option(
        "embedded",
        label=("Model", "模型"),
        help=(
            "embedded, a folder with safetensors, a .gguf file, a hub name (org/model), or http://host:port/v1#model.",
            "embedded、含 safetensors 的文件夹、.gguf 文件、hub 名称（org/model），或 http://host:port/v1#model。",
        ),
    )
    adapter: str | None = option(
        None,
        label=("Adapter", "适配器"),
        help=("A PEFT folder made for this model.", "为该模型训练的 PEFT 文件夹。"),
    )
    precision: str = option(
        "auto",
        choices=PRECISIONS,
        label=("Precision", "精度"),
        help=(
            "auto: gguf for .gguf files, else bf16; int8, nf4, fp4 by bitsandbytes; gguf keeps the file's blocks, "
            "and beside them, where that is faster and memory allows, a bf16 copy for long prompts and several chats.",
            "auto：.gguf 文件保持打包，其他用 bf16；int8、nf4、fp4 由 bitsandbytes 提供；"
            "gguf 保留文件中的量化块，在更快且内存充足时另存一份 bf16 副本，用于长提示和多路对话。",
        ),
    )
    device: str = option(
        "auto",
        choices=("auto", "cpu", "cuda"),
        label=("Device", "设备"),
        help=("auto takes a GPU where there is one.", "auto：有 GPU 时使用 GPU。"),
    )
    context_length: int = option(
        0,
        min=0,
        max=1_048_576,
        label=("Context length", "上下文长度"),
        help=(
            "Tokens of prompt and reply together; 0 is the model's own.",
            "提示与回复的词元总数；0 表示模型自身的上限。",
        ),
    )

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True)
class ServeConfig:
    """Where the page and the API listen, and how much they admit."""

    host: str = option(
        "127.0.0.1",
        label=("Host", "主机"),
        help=(
            "Address to listen on; anything but 127.0.0.1 lets others in.",
            "监听地址；127.0.0.1 之外的地址会允许他人访问。",
        ),
    )
    port: int = option(7860, min=1, max=65535, label=("Port", "端口"), help=("Port to listen on.", "监听端口。"))
    api_key_file: str | None = option(
        None,
        label=("API key file", "API 密钥文件"),
        help=(
            "A file whose first line is the key that /v1 then asks for.",
            "首行为密钥的文件；设置后 /v1 需要该密钥。",
        ),
    )
    allowed_hosts: tuple[str, ...] = option(
        (),
        label=("Allowed hosts", "允许的主机名"),
        help=("Further values of the Host header that are answered.", "额外允许的 Host 头取值。"),
    )
    max_streams: int = option(
        32, min=1, max=512, label=("Streams", "并发数"),
        help=("Replies decoded at the same time.", "同时解码的回复数。"),
    )
    max_waiting: int = option(
        64, min=0, max=10_000, label=("Queue", "队列长度"),
        help=("Requests that may wait; one more is answered with 429.", "可等待的请求数；超出时返回 429。"),
    )

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True)
class Settings:
    """What the environment says, read once at start. docs/settings.md lists these."""

    home: Path
    data: Path | None = None
    is_public: bool = False  # a public demo: one fixed model, nothing kept, no paths from visitors

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> "Settings":
        """Read PROOFBENCH_HOME, PROOFBENCH_DATA and PROOFBENCH_PUBLIC."""
        environ = os.environ if environ is None else environ
        data = environ.get("PROOFBENCH_DATA")
        return cls(
            home=Path(environ.get("PROOFBENCH_HOME") or Path.home() / ".proofbench").expanduser().absolute(),
            data=Path(data).expanduser().absolute() if data else None,
            is_public=environ.get("PROOFBENCH_PUBLIC", "") == "1" or "SPACE_ID" in environ,
        )

    @property
    def models(self) -> Path:
        """Folder whose sub-folders and .gguf files are offered as models."""
        return self.home / "models"

    @property
    def adapters(self) -> Path:
        """Folder whose sub-folders are offered as adapters."""
        return self.home / "adapters"

    @property
    def classifiers(self) -> Path:
        """Folder whose sub-folders are offered as trained classifiers."""
        return self.home / "classifiers"


def quiet_environment() -> None:
    """Telemetry off, thread waiting cheap. Call before torch, gradio or a hub library is imported."""
    for name, value in {
        "GRADIO_ANALYTICS_ENABLED": "False",
        "GRADIO_ANALYTICS_CACHE_FREQUENCY": "1000",
        "GRADIO_ANALYTICS_MAX_EVENTS": "200", "GRADIO_HEARTBEAT_INTERVAL": "5",
        "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",  # also of weights that are read from the disk; downloads show our own
        "DO_NOT_TRACK": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "TRANSFORMERS_VERBOSITY": "error",
        "OMP_WAIT_POLICY": "PASSIVE",  # two OpenMP teams that spin slow each other to a fifteenth
        "GOMP_SPINCOUNT": "4000",  # but a tenth of a millisecond: waking takes as long as a small model's product
    }.items():
        os.environ.setdefault(name, value)
