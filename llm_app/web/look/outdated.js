// A page whose server ended, or was started anew: what answers now may no longer know this page's controls.
const words = OUTDATED_WORDS;
const both = ([english, chinese]) => `<span class="en" lang="en">${english}</span><span class="zh" lang="zh">${chinese}</span>`;

const say = (sentence, button = "") => {
  document.querySelector("#outdated")?.remove();
  const notice = document.createElement("div");
  notice.id = "outdated";
  notice.setAttribute("role", "alert");
  notice.innerHTML = `${both(sentence)} ${button}`;
  notice.querySelector("button")?.addEventListener("click", () => location.reload());
  document.body.append(notice);
};

const check = async () => {
  if (document.hidden || document.querySelector("#outdated")) return;
  try {
    const answer = await fetch(new URL("gradio_api/app_id", document.baseURI));
    const isOther = answer.ok && (await answer.json()).app_id !== window.gradio_config.app_id;
    if (isOther) say(words.page_outdated, `<button type="button">${both(words.page_reload)}</button>`);
  } catch { /* no server: see below */ }
};
setInterval(check, 20_000);
document.addEventListener("visibilitychange", check);

// gradio notices at the next event that there is no server, says so in English, and loads the page when there is one.
const LOST = "Connection to the server was lost.";
new MutationObserver(() => {
  for (const toast of document.querySelectorAll('[data-testid="toast-body"]')) {
    if (toast.style.display === "none" || !toast.textContent.includes(LOST)) continue;
    toast.style.display = "none";
    say(words.page_lost);
  }
}).observe(document.body, { childList: true, subtree: true });
