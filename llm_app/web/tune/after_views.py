"""What came of a training run, shown: the verdict on it, and where its exports are."""

from pathlib import Path

from eval.report.markup import element
from llm_app.jobs.helped import Helpfulness
from llm_app.web.benchmark import comparison_view
from llm_app.web.benchmark.results_markup import block, said, told
from llm_app.web.text import both, inert
from llm_app.web.views import gigabytes, notice


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


def size(n_bytes: int) -> str:
    """12 MB, 1.3 GB."""
    if n_bytes >= 1e9:
        return f"{gigabytes(n_bytes)} GB"
    return f"{n_bytes / 1e6:.1f} MB" if n_bytes >= 1e6 else f"{max(1, round(n_bytes / 1e3)):,} KB"


