// What a press or a file brings about comes into sight, where it stands outside of the window: a person who has pressed
// a button at the foot of it would see nothing happen.
const BRINGS = [
  ["#classify-start, #classify-train, #classifier-search-start, #tagger-train", "#classify-card .run"],
  ["#classify-card button[name=use-tagger]", "#entities-notice .notice"],
  ["#table-file, #table-read", ":is(#table-bad, #table-notice) .notice"],
];
let awaited = null;  // [where it comes, what stands there before]
const said = (element) => element?.dataset.run ?? element?.textContent;

const wait = ({ target }) => {
  const [, where] = BRINGS.find(([asks]) => target.closest?.(asks)) ?? [];
  if (where) awaited = [where, said(document.querySelector(where))];
};
for (const event of ["click", "change", "drop"]) document.addEventListener(event, wait, true);
// Whoever goes on meanwhile is not taken elsewhere any more.
for (const event of ["pointerdown", "wheel", "keydown"]) {
  document.addEventListener(event, () => { awaited = null; }, { capture: true, passive: true });
}

const show = (where) => {
  const found = document.querySelector(where);
  const box = found?.closest(".run-box") ?? found;  // a run with its buttons
  const place = box?.getBoundingClientRect();
  if (!place?.height || (place.top >= 0 && place.bottom <= innerHeight)) return;
  const behavior = matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth";
  box.scrollIntoView({ behavior, block: box === found ? "center" : "start" });
};
new MutationObserver(() => {
  if (!awaited) return;
  const [where, before] = awaited;
  const now = said(document.querySelector(where));
  if (!now || now === before) return;
  awaited = null;
  setTimeout(() => show(where), 250);  // the buttons below it come a moment later
}).observe(document.body, { childList: true, subtree: true, attributes: true, attributeFilter: ["data-run"] });
