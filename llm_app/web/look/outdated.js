// A page that was open while its server was started anew: what answers now may no longer know this page's controls.
const words = OUTDATED_WORDS;

const say = () => {
  const notice = document.createElement("div");
  notice.id = "outdated";
  notice.setAttribute("role", "alert");
  const both = ([english, chinese]) => `<span class="en" lang="en">${english}</span><span class="zh" lang="zh">${chinese}</span>`;
  notice.innerHTML = `${both(words.outdated)} <button type="button">${both(words.reload)}</button>`;
  notice.querySelector("button").addEventListener("click", () => location.reload());
  document.body.append(notice);
};

const check = async () => {
  if (document.hidden || document.querySelector("#outdated")) return;
  try {
    const answer = await fetch(new URL("gradio_api/app_id", document.baseURI));
    if (answer.ok && (await answer.json()).app_id !== window.gradio_config.app_id) say();
  } catch { /* no server: gradio says so, and loads the page again when there is one */ }
};
setInterval(check, 20_000);
document.addEventListener("visibilitychange", check);
