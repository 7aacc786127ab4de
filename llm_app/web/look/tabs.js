// Which tabs are open is remembered over a reload, for this tab of the browser; and a button of ours can open one.
const OPEN_TABS = "proofbench.tabs";
const tabOf = (id) => document.querySelector(`button[role="tab"][data-tab-id="${CSS.escape(id)}"]`);

addEventListener("pagehide", () => {
  const open = document.querySelectorAll('button[role="tab"][aria-selected="true"]');
  try { sessionStorage.setItem(OPEN_TABS, JSON.stringify([...open].map((tab) => tab.dataset.tabId))); } catch { /* private window */ }
});

let waiting = [];
try { waiting = JSON.parse(sessionStorage.getItem(OPEN_TABS)) ?? []; } catch { /* nothing remembered */ }
// A tab within a tab is there once the outer one is open.
const reopen = () => {
  waiting = waiting.filter((id) => {
    const tab = tabOf(id);
    if (tab && tab.ariaSelected !== "true") tab.click();
    return !tab;
  });
  if (!waiting.length) opening.disconnect();
};
const opening = new MutationObserver(reopen);
opening.observe(document.body, { childList: true, subtree: true });
// Whoever has begun to look around is not taken elsewhere any more.
document.addEventListener("pointerdown", () => { waiting = []; opening.disconnect(); }, { once: true, capture: true });

const openTab = (id) => tabOf(id)?.click();
document.addEventListener("click", (event) => {
  const button = event.target.closest?.("button[data-opens]");
  if (button) openTab(button.dataset.opens);
});
addEventListener("open-tab", (event) => openTab(event.detail));
