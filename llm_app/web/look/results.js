// What a person opened stays open when its block is drawn anew, as that of a running benchmark is: gradio then takes
// `open` from the parts that stay, and puts new parts in closed.
const opened = new Set();
const reopen = (fold) => { if (opened.has(fold.dataset.fold) && !fold.open) fold.open = true; };
new MutationObserver((changes) => {
  if (opened.size === 0) return;
  for (const { target, type, addedNodes } of changes) {
    if (type === "attributes") { if (target.dataset.fold) reopen(target); continue; }
    for (const node of addedNodes) node.querySelectorAll?.("details[data-fold]").forEach(reopen);
  }
}).observe(document.body, { childList: true, subtree: true, attributes: true, attributeFilter: ["open"] });

// One explanation at a time: a press elsewhere or Escape closes it.
const closeOthers = (kept) => {
  for (const what of document.querySelectorAll("details.what[open]")) {
    if (what !== kept) { opened.delete(what.dataset.fold); what.open = false; }
  }
};
document.addEventListener("click", ({ target }) => {
  const fold = target.closest?.("summary")?.parentElement;
  const name = fold?.dataset.fold;
  if (name) { if (fold.open) opened.delete(name); else opened.add(name); }  // as it will be: the press opens it next
  closeOthers(target.closest?.("details.what"));
});
document.addEventListener("keydown", ({ key }) => { if (key === "Escape") closeOthers(null); });

// What was compared is said above what was asked for: the verdict comes into sight when it is there.
let isAsked = false;
document.addEventListener("click", ({ target }) => {
  if (target.closest?.("#compare-runs, #compare-partner")) isAsked = true;
});
new MutationObserver(() => {
  const verdict = isAsked && document.querySelector("#verdict:has(.comparison)");
  if (!verdict) return;
  isAsked = false;
  setTimeout(() => verdict.scrollIntoView(), 250);  // the samples below it come a moment later: the page is longer then
}).observe(document.body, { childList: true, subtree: true });

// A line of a list that is cut says the whole of itself: the control that lies over it knows its words.
document.addEventListener("mouseover", ({ target }) => {
  const line = target.closest?.(".pick-rows label");
  if (line) line.title = line.textContent.trim();
});
