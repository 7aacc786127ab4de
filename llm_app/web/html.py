"""HTML blocks of our own words, and the few that carry a script of ours."""

import base64
import json
import secrets
from typing import Any

import gradio as gr

GONE = "gone"  # the class of a row or a column that is not shown

# A press of a button of ours, wherever on the page it stands, becomes an event of the block.
_CLICKS = """
document.addEventListener("click", (event) => {
  const button = event.target.closest?.(WHERE);
  if (button) trigger("click", { name: button.name, value: button.value });
});
"""
# Files are read in the browser: nothing of them is written to the server's disk.
_FILES = """
element.addEventListener("click", (event) => {
  if (!event.target.closest("button")) return;
  const input = document.createElement("input");
  Object.assign(input, { type: "file", accept: ACCEPT });
  input.addEventListener("change", async () => {
    const file = input.files[0];
    let text = null;
    if (file.size <= MAX_BYTES) {
      try { text = new TextDecoder("utf-8", { fatal: true }).decode(await file.arrayBuffer()); } catch { text = ""; }
    }
    trigger("upload", { name: file.name, text, n_bytes: file.size });
  });
  input.click();
});
"""
_DOWNLOAD = """
watch("value", () => {
  const [, name, data] = (props.value || "").split(" ");
  if (!data) return;
  const bytes = Uint8Array.from(atob(data), (character) => character.charCodeAt(0));
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([bytes]));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
});
"""
# Another tab of the page is opened, by look/tabs.js: what a handler has done is shown there.
_OPENS = """
watch("value", () => {
  const [, tab] = (props.value || "").split(" ");
  if (tab) dispatchEvent(new CustomEvent("open-tab", { detail: tab }));
});
"""
# What only the browser knows: the language of the page, and whether something is in sight.
_SIGHT = """
watch("value", () => trigger("load", {
  language: document.documentElement.lang, is_seen: Boolean(document.querySelector(WHERE)?.offsetParent)
}));
"""
# A tab of the browser remembers a word over a reload; two tabs remember one each.
_MEMORY = """
const memory = (act) => { try { return act(sessionStorage); } catch { return null; } };
watch("value", () => memory((kept) => kept.setItem(KEY, props.value || "")));
trigger("load", { value: memory((kept) => kept.getItem(KEY)) || "" });
"""

# The browser keeps rows, in all of its tabs: of two rows of one thing the newer one. What another tab has kept is what
# this page sends from then on. Nothing of it is drawn.
_ROWS = """
const rows = (text) => {
  try { const found = JSON.parse(text); return Array.isArray(found) ? found : []; } catch { return []; }
};
const kept = () => { try { return rows(localStorage.getItem(KEY)); } catch { return []; } };
const name = (row) => row?.[OF]?.id ?? JSON.stringify(row);
const age = (row) => row?.[OF]?.updated ?? 0;
const within = (all) => {
  const graves = all.filter((row) => row?.[OF]?.deleted === true).sort((one, other) => age(other) - age(one));
  const old = new Set(graves.slice(MAX_GRAVES));
  return all.filter((row) => !old.has(row));
};
watch("value", () => {
  const mine = new Map((props.value || []).map((row) => [name(row), row]));
  for (const row of kept()) {
    if (!mine.has(name(row)) || age(row) > age(mine.get(name(row)))) mine.set(name(row), row);
  }
  const all = within([...mine.values()]);
  try { localStorage.setItem(KEY, JSON.stringify(all)); } catch { /* private window, or full */ }
  if (all.length > (props.value || []).length) props.value = all;
});
addEventListener("storage", (event) => {
  if (event.key === KEY) { props.value = kept(); trigger("load"); }
});
props.value = kept();
"""


def html(value: str, **where: Any) -> gr.HTML:
    """A block of HTML that is shown as it is: no padding, no styles and no script of gradio's own."""
    return _block(value, None, **where)


def drawn(value: str, **where: Any) -> gr.HTML:
    """The same with a `load` event when it is drawn for the first time: when its tab is opened, not with the page."""
    return _block(value, 'trigger("load");', **where)


def shown(is_visible: bool) -> Any:
    """Show or hide a component. Hidden, not removed: one that is built anew forgets the language of the page."""
    return gr.update(visible=True if is_visible else "hidden")


def unfolded(is_open: bool, *classes: str) -> Any:
    """Show or hide a row or a column, given its other classes: gradio's own hiding works on components only."""
    return gr.update(elem_classes=[*classes, *([] if is_open else [GONE])])


def sent(event: gr.EventData, name: str) -> object:
    """One value of an event, or None. Whatever the browser sent stands in it."""
    data = event._data
    return data.get(name) if isinstance(data, dict) else None


def clicks(where: str, **names: Any) -> gr.HTML:
    """An unseen block whose `click` is a press of any button at this CSS selector.

    The event's `name` and `value` are those of the button, or whatever else somebody sends.
    """
    return _block("", _with(_CLICKS, WHERE=where), visible="hidden", **names)


def files(value: str, accept: str, max_bytes: int, **where: Any) -> gr.HTML:
    """A button, given as HTML, that reads a file. Its `upload` event has `name`, `text` and `n_bytes`.

    `text` is empty where the file is not UTF-8, and None where it is larger than allowed.
    """
    return _block(value, _with(_FILES, ACCEPT=accept, MAX_BYTES=max_bytes), **where)


def downloads(**names: Any) -> gr.HTML:
    """An unseen block; a value made by `download` is saved by the browser as a file."""
    return _block("", _DOWNLOAD, visible="hidden", **names)


def download(name: str, text: str) -> str:
    """The value that makes `downloads` save a file. The name must hold no space."""
    # With a word by chance: the same file asked for twice is saved twice.
    return f"{secrets.token_hex(4)} {name} {base64.b64encode(text.encode('utf-8')).decode('ascii')}"


def opener(**names: Any) -> gr.HTML:
    """An unseen block; a value made by `opened` opens a tab of the page."""
    return _block("", _OPENS, visible="hidden", **names)


def opened(tab: str) -> str:
    """The value that makes `opener` open the tab of this id."""
    # With a word by chance: the same tab may be opened twice.
    return f"{secrets.token_hex(4)} {tab}"


def sight(where: str, **names: Any) -> gr.HTML:
    """An unseen block that asks the browser each time when it gets another value, such as one of `glance`.

    Its `load` event answers: `is_seen`, whether the element at this CSS selector is, and the `language` of the page.
    """
    return _block("", _with(_SIGHT, WHERE=where), visible="hidden", **names)


def glance() -> str:
    """A value that makes `sight` ask."""
    return secrets.token_hex(4)


def memory(key: str, **names: Any) -> gr.HTML:
    """An unseen block whose value this tab of the browser remembers.

    Its `load` event comes once, when the page opens, with the `value` from before a reload.
    """
    return _block("", _with(_MEMORY, KEY=key), visible="hidden", **names)


def shared_rows(key: str, of: str, max_graves: int, **names: Any) -> gr.HTML:
    """An unseen block whose value is a list of rows that this browser keeps, the same in all of its tabs.

    What is one thing tells `row[of]["id"]`, and which row is the newer one `row[of]["updated"]`. Of rows that only say
    that something was `deleted`, the newest are kept. Its `load` event comes when another tab has kept something.
    """
    return _block([], _with(_ROWS, KEY=key, OF=of, MAX_GRAVES=max_graves), visible="hidden", html_template=" ", **names)


def _with(script: str, **values: object) -> str:
    return "".join(f"const {name} = {json.dumps(value)};\n" for name, value in values.items()) + script


def _block(value: Any, script: str | None, **where: Any) -> gr.HTML:
    return gr.HTML(value, js_on_load=script, apply_default_css=False, padding=False, **where)
