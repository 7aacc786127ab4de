// Token view: one card for all tokens, by pointer, by keyboard, by touch.
const rows = (view) => (view.rows ??= JSON.parse(view.dataset.tokens));
const cardOf = (view) => view.querySelector(".card");
let open = null; // the token whose card is in sight
let leaving = 0;
let isReturning = false; // the keyboard goes back to a token whose card was closed

const close = () => {
  clearTimeout(leaving);
  if (!open) return;
  open.classList.remove("open");
  const view = open.closest(".tokens");
  if (view) cardOf(view).hidden = true;
  open = null;
};

const button = (view, i, k, [words, share, part, isChosen, isEnd]) => {
  const item = document.createElement("li");
  const row = document.createElement(isEnd ? "span" : "button");
  row.className = "alternative" + (isChosen ? " chosen" : "");
  if (!isEnd) Object.assign(row, { type: "button", name: view.dataset.kind, value: `${i}:${k}` });
  const cells = [["bar", ""], ["words", words], ["share", share]].map(([name, text]) => {
    const cell = document.createElement("span");
    cell.className = name;
    cell.textContent = text;
    return cell;
  });
  cells[0].style.width = `${100 * part}%`;
  row.append(...cells);
  if (isEnd) row.append(view.querySelector(".card template").content.cloneNode(true));
  item.append(row);
  return item;
};

const show = (token) => {
  clearTimeout(leaving);
  if (open === token) return;
  close();
  const view = token.closest(".tokens"), i = Number(token.dataset.i), card = cardOf(view);
  const [word, probability, logprob, entropy, rank, others] = rows(view)[i];
  for (const [name, text] of Object.entries({ word, probability, logprob, entropy, rank }))
    card.querySelector(`[data-slot="${name}"]`).textContent = text;
  card.querySelector('[data-slot="others"]').replaceChildren(...others.map((other, k) => button(view, i, k, other)));
  card.hidden = false;
  const stage = card.parentElement.getBoundingClientRect(), lines = [...token.getClientRects()];
  const at = lines.at(-1) ?? token.getBoundingClientRect();
  const left = Math.max(0, Math.min(at.left - stage.left, stage.width - card.offsetWidth));
  card.style.left = `${left}px`;
  card.style.top = `${at.bottom - stage.top}px`;
  token.classList.add("open");
  open = token;
};

const tokenAt = (event) => event.target.closest?.(".tokens .line .tok");
document.addEventListener("pointerover", (event) => {
  const token = tokenAt(event);
  // A card that has the keyboard stays until the keyboard leaves it.
  if (open && cardOf(open.closest(".tokens"))?.contains(document.activeElement)) return;
  if (token) show(token);
  else if (open && !event.target.closest?.(".tokens .card")) { clearTimeout(leaving); leaving = setTimeout(close, 250); }
  else clearTimeout(leaving);
});
document.addEventListener("focusin", (event) => {
  const token = tokenAt(event);
  if (token) {
    token.closest(".line").querySelectorAll('.tok[tabindex="0"]').forEach((other) => { other.tabIndex = -1; });
    token.tabIndex = 0;
    if (!isReturning) show(token);
  } else if (!event.target.closest?.(".tokens .card")) close();
});
document.addEventListener("click", (event) => {
  if (event.target.closest?.(".tokens button.alternative")) setTimeout(close);
  else if (open && !tokenAt(event) && !event.target.closest?.(".tokens .card")) close();
});

const steps = { ArrowRight: 1, ArrowLeft: -1 };
document.addEventListener("keydown", (event) => {
  const token = tokenAt(event), inCard = event.target.closest?.(".tokens .card");
  if (!token && !inCard) return;
  const choices = [...cardOf(event.target.closest(".tokens")).querySelectorAll("button.alternative")];
  let target = null;
  if (event.key === "Escape") { target = inCard ? open : null; close(); }
  else if (token && event.key in steps) target = token.parentElement.children[[...token.parentElement.children].indexOf(token) + steps[event.key]];
  else if (token && event.key === "Home") target = token.parentElement.firstElementChild;
  else if (token && event.key === "End") target = token.parentElement.lastElementChild;
  else if (token && ["Enter", " ", "ArrowDown"].includes(event.key)) { show(token); target = choices[0] ?? cardOf(token.closest(".tokens")).querySelector("button.alternative"); }
  else if (inCard && event.key === "ArrowDown") target = choices[choices.indexOf(event.target) + 1];
  else if (inCard && event.key === "ArrowUp") target = choices[choices.indexOf(event.target) - 1] ?? open;
  else return;
  event.preventDefault();
  isReturning = event.key === "Escape";
  target?.focus();
  isReturning = false;
});
