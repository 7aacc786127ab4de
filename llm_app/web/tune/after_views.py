"""What came of a training run, shown: the verdict on it, and where its exports are."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from gradio.i18n import I18nData

from eval.report.markup import element
from llm_app.jobs.export_run import FORMS
from llm_app.jobs.helped import Helpfulness
from llm_app.jobs.quota import Quota
from llm_app.web.benchmark import comparison_view
from llm_app.web.benchmark.results_markup import block, said, told
from llm_app.web.text import both, inert, label
from llm_app.web.views import gigabytes, notice

ADAPTER_FORM = "adapter"
LABELS = {
    ADAPTER_FORM: "tune_form_adapter",
    "merged-bf16": "tune_form_merged_bf16", "merged-fp32": "tune_form_merged_fp32", "gguf-f16": "tune_form_gguf_f16",
    "gguf-q8_0": "tune_form_gguf_q8_0", "gguf-f32": "tune_form_gguf_f32",
}  # fmt: skip


def form_choices(forms: Iterable[str]) -> list[tuple[I18nData, str]]:
    """The adapter as it is, then these forms of it, each by its name for people."""
    return [(label(LABELS[name]), name) for name in (ADAPTER_FORM, *forms)]


def verdict(found: Helpfulness) -> str:
    """On what it was trained for, what it may have forgotten, and the comparison behind both."""
    sentences = zip(found.sentences("en"), found.sentences("zh"), strict=True)
    heads = ("tune_on_target", "tune_on_rest")
    lines = [
        element("div", element("h4", said(head)), element("p", told(sentence), class_="verdict"), class_="finding-line")
        for head, sentence in zip(heads, sentences, strict=True)
    ]
    left_out = (
        element("p", said("tune_left_out", n=found.n_left_out), class_="quiet") if found.n_left_out else None
    )
    return block(*lines, left_out) + comparison_view.verdicts([found.comparison])


def exported(output: Path, *, is_public: bool) -> str:
    """Where an export is, and how large."""
    files = [output, *output.rglob("*")]
    n_bytes = sum(file.stat().st_size for file in files if file.is_file())
    if not n_bytes:
        return notice(both("tune_export_gone", title=output.name), "warning")
    said_so = both("tune_exported_public" if is_public else "tune_exported", title=output.name, size=size(n_bytes))
    where = "" if is_public else f' <code class="path">{inert(str(output))}</code>'
    return notice(said_so + where)


def not_offered(forms: Sequence[str]) -> str:
    """Why a public page does not offer all forms; nothing where it does."""
    return notice(both("tune_forms_too_large", n=Quota().n_bytes >> 20)) if len(forms) < len(FORMS) else ""


def size(n_bytes: int) -> str:
    """12 MB, 1.3 GB."""
    if n_bytes >= 1e9:
        return f"{gigabytes(n_bytes)} GB"
    return f"{n_bytes / 1e6:.1f} MB" if n_bytes >= 1e6 else f"{max(1, round(n_bytes / 1e3)):,} KB"
