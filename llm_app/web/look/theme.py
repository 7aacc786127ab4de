"""How the page looks: the theme, the style sheets, and the scripts."""

import json
from pathlib import Path

import gradio as gr

from llm_app.options import Text
from llm_app.web.text import STRINGS

HERE = Path(__file__).parent
# A tab brings a style sheet, and a script where it needs one, and their names here.
STYLES = (
    "frame.css", "model.css", "chat.css", "runs.css", "benchmark.css", "results.css",
    "compare.css", "tokens.css", "own_data.css", "tune.css", "classify.css",
)
SCRIPTS = ("page.js", "tabs.js", "results.js", "tokens.js", "sight.js", "outdated.js")

# System fonts only, so that nothing is fetched; the CJK fonts of each system stand after its Latin ones.
SANS = (
    "ui-sans-serif", "system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica Neue", "Arial", "PingFang SC",
    "Hiragino Sans GB", "Microsoft YaHei", "Noto Sans CJK SC", "Noto Sans SC", "WenQuanYi Micro Hei", "sans-serif",
)  # fmt: skip
MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "DejaVu Sans Mono", "Noto Sans Mono CJK SC", "monospace")

NEUTRAL = gr.themes.Color(
    "#fafaf9",
    "#f4f4f2",
    "#e7e7e4",
    "#d6d6d2",
    "#a3a39e",
    "#73736e",
    "#575753",
    "#40403d",
    "#282826",
    "#1b1b1a",
    "#121211",
)
ACCENT = gr.themes.Color(
    "#eef6f6",
    "#d5e9ea",
    "#abd3d6",
    "#78b6bb",
    "#45959c",
    "#1f7880",
    "#13626a",
    "#125057",
    "#124147",
    "#12363b",
    "#072125",
)


def theme() -> gr.themes.Base:
    """Neutral greys and one accent; light and dark each chosen, not inverted."""
    base = gr.themes.Base(
        primary_hue=ACCENT, secondary_hue=ACCENT, neutral_hue=NEUTRAL,
        text_size="sm", spacing_size="sm", radius_size="md",
        font=[gr.themes.Font(name) for name in SANS], font_mono=[gr.themes.Font(name) for name in MONO],
    )  # fmt: skip
    return base.set(
        body_background_fill="#fbfbfa", body_background_fill_dark="#151514",
        body_text_color="#1f1f1d", body_text_color_dark="#e6e6e2",
        body_text_color_subdued="#66665f", body_text_color_subdued_dark="#a0a099",
        background_fill_primary="#ffffff", background_fill_primary_dark="#1c1c1b",
        background_fill_secondary="#f6f6f4", background_fill_secondary_dark="#232322",
        border_color_primary="#e2e2de", border_color_primary_dark="#353533",
        border_color_accent="*primary_500", border_color_accent_dark="*primary_400",
        color_accent="*primary_500", color_accent_soft="*primary_50", color_accent_soft_dark="#1d3234",
        link_text_color="*primary_600", link_text_color_dark="*primary_300",
        block_background_fill="transparent", block_background_fill_dark="transparent",
        block_border_width="0px", block_shadow="none", block_padding="0px", block_radius="8px",
        block_label_background_fill="transparent", block_label_background_fill_dark="transparent",
        block_title_text_color="*body_text_color_subdued", block_title_text_color_dark="*body_text_color_subdued",
        block_title_text_weight="500", block_title_text_size="12px",
        block_info_text_color="*body_text_color_subdued", block_info_text_color_dark="*body_text_color_subdued",
        input_background_fill="#ffffff", input_background_fill_dark="#1f1f1e",
        input_border_color="#dadad5", input_border_color_dark="#3d3d3a", input_border_width="1px",
        input_border_color_focus="*primary_500", input_border_color_focus_dark="*primary_400",
        input_shadow="none", input_shadow_focus="none", input_radius="8px", input_padding="8px 10px",
        button_primary_background_fill="*primary_500", button_primary_background_fill_dark="*primary_500",
        button_primary_background_fill_hover="*primary_600", button_primary_background_fill_hover_dark="*primary_400",
        button_primary_text_color="#ffffff", button_primary_text_color_dark="#ffffff",
        button_secondary_background_fill="#ffffff", button_secondary_background_fill_dark="#262625",
        button_secondary_background_fill_hover="#f1f1ee", button_secondary_background_fill_hover_dark="#30302e",
        button_secondary_border_color="#d6d6d1", button_secondary_border_color_dark="#42423f",
        button_border_width="1px", button_transition="background-color 120ms ease",
        slider_color="*primary_500", slider_color_dark="*primary_400", layout_gap="12px",
        code_background_fill="#f1f1ee", code_background_fill_dark="#262625",
    )  # fmt: skip


def head() -> str:
    """What goes into the document's head: the style sheets, and the scripts, such as that of the two switches.

    gradio's own `css` parameter rewrites every selector to stand below its container, where none can ask for the
    language of the page.
    """
    styles = "".join((HERE / name).read_text(encoding="utf-8") for name in STYLES)
    scripts = [(HERE / name).read_text(encoding="utf-8") for name in SCRIPTS]
    modules = "".join(f'<script type="module">\n{script}</script>' for script in scripts)
    outdated = {name: STRINGS[name] for name in ("page_outdated", "page_lost", "page_reload")}
    modules = modules.replace("LANGUAGE_MODULE", language_module()).replace("TAB_WORDS", json.dumps(tab_words()))
    modules = modules.replace("OUTDATED_WORDS", json.dumps(outdated))
    return f"<style>\n{styles}</style>{modules}"


def tab_words() -> dict[str, Text]:
    """The label of every tab in both languages; a tab's id is the name of its label."""
    return {name: words for name, words in STRINGS.items() if name.startswith(("tab_", "mode_", "result_view_"))}


def language_module() -> str:
    """Path of gradio's own module that switches the language of the open page; it has no public name."""
    assets = Path(gr.__file__).parent / "templates" / "frontend" / "assets"
    for path in sorted(assets.glob("core-*.js")):
        if "as changeLocale" in path.read_text(encoding="utf-8"):
            return f"assets/{path.name}"
    raise RuntimeError("This version of gradio has no changeLocale; the language switch needs another way.")
