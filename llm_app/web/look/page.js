// Language and light or dark: remembered in this browser, applied without a reload.
const gradio = await import(new URL("LANGUAGE_MODULE", document.baseURI));
const memory = {
  get: (name) => { try { return localStorage.getItem("proofbench." + name); } catch { return null; } },
  set: (name, value) => { try { localStorage.setItem("proofbench." + name, value); } catch { /* private window */ } },
};

const setDark = (isDark) => {
  document.body.classList.toggle("dark", isDark);
  document.documentElement.style.colorScheme = isDark ? "dark" : "light";
};
const theme = new URLSearchParams(location.search).get("__theme") ?? memory.get("theme");
setDark(theme ? theme === "dark" : document.body.classList.contains("dark"));

// gradio gives a tab's button its words once, and again only when it is pressed: the others are told here.
const tabWords = TAB_WORDS;
const nameTabs = () => {
  const language = document.documentElement.lang.startsWith("zh") ? 1 : 0;
  for (const button of document.querySelectorAll('button[role="tab"][data-tab-id]')) {
    const words = tabWords[button.dataset.tabId];
    const text = [...button.childNodes].find((node) => node.nodeType === Node.TEXT_NODE && node.data.trim());
    if (words && text && text.data.trim() !== words[language]) text.data = words[language];
  }
};
new MutationObserver(nameTabs).observe(document.documentElement, { attributeFilter: ["lang"] });
new MutationObserver((changes) => {
  const isNew = (node) => node.nodeType === Node.ELEMENT_NODE && (node.matches("[role=tab]") || node.querySelector("[role=tab]"));
  if (changes.some((change) => [...change.addedNodes].some(isNew))) nameTabs();
}).observe(document.body, { childList: true, subtree: true });

// The page has one Chinese, which gradio would give to no browser but those of zh-CN.
const browserLanguage = navigator.language.startsWith("zh") && navigator.language !== "zh-CN" ? "zh-CN" : null;
const language = new URLSearchParams(location.search).get("lang") ?? memory.get("language") ?? browserLanguage;
if (language) gradio.changeLocale(language.startsWith("zh") ? "zh-CN" : "en");

document.addEventListener("click", (event) => {
  if (event.target.closest?.("#switch-language")) {
    const next = document.documentElement.lang.startsWith("zh") ? "en" : "zh-CN";
    memory.set("language", next);
    gradio.changeLocale(next);
  }
  if (event.target.closest?.("#switch-theme")) {
    const isDark = !document.body.classList.contains("dark");
    memory.set("theme", isDark ? "dark" : "light");
    setDark(isDark);
  }
});

// Ready to type where there is a keyboard; on a phone the focus would scroll the page and open one.
if (matchMedia("(pointer: fine)").matches) {
  const observer = new MutationObserver(() => {
    const box = document.querySelector("#message textarea");
    if (box) { observer.disconnect(); box.focus({ preventScroll: true }); }
  });
  observer.observe(document.body, { childList: true, subtree: true });
}

// How much room is left below the strip, which grows by a line when there is something to say.
const place = () => {
  const bench = document.querySelector(".bench");
  if (bench) document.documentElement.style.setProperty("--bench-top", `${bench.getBoundingClientRect().top + scrollY}px`);
};
const room = new ResizeObserver(place);
const strip = new MutationObserver(() => {
  const parts = document.querySelectorAll(".strip, .status, .rooms");
  if (parts.length === 3) { strip.disconnect(); parts.forEach((part) => room.observe(part)); }
});
strip.observe(document.body, { childList: true, subtree: true });

// Enter that picks a candidate of an input method must not send the message.
document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && event.isComposing) event.stopImmediatePropagation();
}, true);

// Copying a message gives what was written, without the escapes that keep its tags from being markup (markup.py).
const write = navigator.clipboard?.writeText.bind(navigator.clipboard);
let isMessage = false;
document.addEventListener("click", (event) => { isMessage = Boolean(event.target.closest?.(".message-buttons")); }, true);
if (write) {
  navigator.clipboard.writeText = (text) =>
    write(isMessage ? text.replace(/&lt;/g, "<").replace(/&#33;\[/g, "![").replace(/&amp;(?=(?:amp;)*(?:lt;|#33;))/g, "&") : text);
}

// What gradio says to screen readers in English only.
const SAID = { "chatbot conversation": "对话记录", "Click to upload or drop files": "点击或拖入文件上传" };
const translate = () => {
  const isChinese = document.documentElement.lang.startsWith("zh");
  for (const [english, chinese] of Object.entries(SAID)) {
    const [from, to] = isChinese ? [english, chinese] : [chinese, english];
    document.querySelectorAll(`[aria-label="${from}"]`).forEach((element) => element.setAttribute("aria-label", to));
  }
};
let isDue = false;
const translateSoon = () => {
  if (!isDue) { isDue = true; setTimeout(() => { isDue = false; translate(); }, 300); }
};
new MutationObserver(translateSoon).observe(document.body, { childList: true, subtree: true });
new MutationObserver(translateSoon).observe(document.documentElement, { attributeFilter: ["lang"] });
