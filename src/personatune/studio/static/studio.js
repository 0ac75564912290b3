// What every page can do: theme, keys, copying, live parts, messages. No framework; htmx does the rest.
"use strict";

const all = (selector, within = document) => within.querySelectorAll(selector);
const root = document.documentElement;

// --- messages ---------------------------------------------------------------------------------------------

/** Say something at the foot of the page, and to screen readers: `studio.say("Saved")`. */
function say(text) {
  const place = document.getElementById("toast");
  if (!place) return;
  const line = document.createElement("p");
  line.className = "toast";
  line.textContent = text;
  place.append(line);
  setTimeout(() => line.remove(), 5000);
}
window.studio = { say };

/** Show an error's fragment, which stays until it is closed. */
function showProblem(html, isText) {
  const place = document.getElementById("problems");
  if (!place) return;
  const made = new DOMParser().parseFromString(isText ? "" : html, "text/html").querySelector(".problem");
  if (made) place.replaceChildren(document.importNode(made, true));
  else {
    const line = document.createElement("div");
    line.className = "problem";
    const words = document.createElement("p");
    words.textContent = html.slice(0, 400) || "The studio does not answer.";
    const close = document.createElement("button");
    close.type = "button"; close.className = "button quiet"; close.textContent = "Close"; close.dataset.dismiss = "";
    line.append(words, close);
    place.replaceChildren(line);
  }
}

document.addEventListener("htmx:beforeSwap", (event) => {
  const request = event.detail.xhr;
  if (request.status < 400) return;
  event.detail.shouldSwap = false;
  event.detail.isError = false;
  showProblem(request.responseText, !(request.getResponseHeader("content-type") || "").includes("html"));
});
// A page that was left open while the studio was started again learns the new token, and sends what it was to send.
document.addEventListener("htmx:afterRequest", (event) => {
  const { xhr, requestConfig, target, elt } = event.detail, meta = document.querySelector("meta[name=token]");
  const token = xhr.status === 403 && xhr.getResponseHeader("x-personatune-token");
  if (!token || token === meta.content) return;
  meta.content = token;
  document.body.setAttribute("hx-headers", JSON.stringify({ "X-Personatune-Token": token }));
  for (const field of all("input[name=token]")) field.value = token;
  const values = { ...requestConfig.parameters, token };
  setTimeout(() => window.htmx.ajax(requestConfig.verb, requestConfig.path, { source: elt, target, values }));
});
document.addEventListener("htmx:sendError", () => showProblem("The studio does not answer: has it been ended? Start it again with: personatune studio", true));
document.addEventListener("htmx:afterRequest", (event) => {
  if (event.detail.successful) document.getElementById("problems")?.replaceChildren();
});
// A server can say something: the header HX-Trigger: {"say": "Saved"}
document.addEventListener("say", (event) => say(event.detail.value || event.detail));

// --- theme ------------------------------------------------------------------------------------------------

function isDark() {
  return root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}
function toggleTheme() {
  root.dataset.theme = isDark() ? "light" : "dark";
  try { localStorage.setItem("theme", root.dataset.theme); } catch { /* then only for this page */ }
  document.dispatchEvent(new CustomEvent("themechange", { detail: { dark: isDark() } }));
}

// --- clicks -----------------------------------------------------------------------------------------------

async function copy(button) {
  const text = button.dataset.copy;
  try {
    await navigator.clipboard.writeText(text);
    say("Copied");
  } catch {
    const code = button.parentElement.querySelector("code");
    if (code) getSelection().selectAllChildren(code);
    say("Marked: press Ctrl-C to copy");
  }
}

document.addEventListener("click", (event) => {
  const hit = (selector) => event.target.closest?.(selector);
  let button;
  if (hit("[data-theme-toggle]")) toggleTheme();
  else if ((button = hit("[data-copy]"))) copy(button);
  else if ((button = hit("[data-opens]"))) document.getElementById(button.dataset.opens)?.showModal();
  else if ((button = hit("[data-dismiss]"))) button.closest(".problem, .toast, dialog")?.remove();
  const menu = document.querySelector("details.more[open]");
  if (menu && !hit("details.more")) menu.open = false;
});

// A form with data-sure asks first.
document.addEventListener("submit", (event) => {
  const question = event.target.dataset?.sure;
  if (question && !confirm(question)) event.preventDefault();
}, true);

// --- keys -------------------------------------------------------------------------------------------------

let leading = 0;
function typing(target) {
  return target.closest?.("input:not([type=radio]):not([type=checkbox]):not([type=range]), textarea, select, [contenteditable]");
}
document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
  if (document.querySelector("dialog[open]")) return;
  if (event.timeStamp - leading < 1200 && leading) {
    leading = 0;
    const link = document.querySelector(`a[data-key="${CSS.escape(event.key)}"]`);
    if (link) { event.preventDefault(); link.click(); }
    return;
  }
  if (event.key === "g") leading = event.timeStamp;
  else if (event.key === "?") { event.preventDefault(); document.getElementById("keys")?.showModal(); }
  else if (event.key === "/") {
    const search = document.querySelector("[data-search]");
    if (search) { event.preventDefault(); search.focus(); search.select?.(); }
  }
});

// --- parts that change ------------------------------------------------------------------------------------

/** Make one tree like another, changing only what differs: what is pressed, focused, open or scrolled stays. */
function morph(from, to) {
  const old = [...from.childNodes], made = [...to.childNodes];
  for (let at = 0; at < Math.max(old.length, made.length); at++) {
    const [one, other] = [old[at], made[at]];
    if (!other) one.remove();
    else if (!one) from.append(document.importNode(other, true));
    else if (one.nodeName !== other.nodeName || (one.id || "") !== (other.id || "")) one.replaceWith(document.importNode(other, true));
    else if (one.nodeType !== Node.ELEMENT_NODE) { if (one.data !== other.data) one.data = other.data; }
    else {
      for (const { name, value } of other.attributes) if (one.getAttribute(name) !== value) one.setAttribute(name, value);
      for (const { name } of [...one.attributes])
        if (!other.hasAttribute(name) && !(name === "open" && one.nodeName === "DETAILS")) one.removeAttribute(name);
      if (!one.hasAttribute("data-keep")) morph(one, other);
    }
  }
}

/** Put new HTML into a place. */
function fill(place, html) {
  morph(place, new DOMParser().parseFromString(`<body>${html}</body>`, "text/html").body);
  window.htmx?.process(place);
  place.dispatchEvent(new CustomEvent("filled", { bubbles: true }));
}

/** Ask the charts within a place for their new numbers: charts.js listens. At most once a second. */
let redrawn = 0, redrawing = 0;
function redraw(place) {
  clearTimeout(redrawing);
  redrawing = setTimeout(() => {
    redrawn = Date.now();
    for (const figure of all("[data-chart]", place)) {
      for (let box = figure; box && box !== place; box = box.parentElement) box.hidden = false;
      figure.dispatchEvent(new CustomEvent("chart:refresh"));
    }
  }, Math.max(0, redrawn + 1000 - Date.now()));
}

/** data-live="URL": server-sent events fill the elements with data-part="NAME" inside. Hidden pages let go. */
function live(place) {
  let source = null, known = {}, lost = null;
  const lostNote = () => { place.dataset.lost = ""; };
  const open = () => {
    if (source || document.hidden) return;
    source = new EventSource(place.dataset.live);
    source.onopen = () => { clearTimeout(lost); delete place.dataset.lost; };
    source.onerror = () => { clearTimeout(lost); lost = setTimeout(lostNote, 3000); };
    source.addEventListener("part", (event) => {
      const { name, html } = JSON.parse(event.data);
      const before = known[name];
      known[name] = html;
      if (name === "@chart") {
        if (before !== undefined && before !== html) redraw(place);
        return;
      }
      for (const part of all(`[data-part="${CSS.escape(name)}"]`, place)) fill(part, html);
    });
  };
  const close = () => { source?.close(); source = null; };
  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  addEventListener("pagehide", close);
  addEventListener("pageshow", open);
  open();
}

/** data-poll="URL" data-every="2": a fragment that is asked for again while the page is in sight. */
function poll(place) {
  let last = null;
  const ask = async () => {
    if (!document.hidden && place.isConnected) {
      try {
        const answer = await fetch(place.dataset.poll, { headers: { "HX-Request": "true" } });
        const html = answer.ok ? await answer.text() : "";
        if (answer.ok && html !== last) fill(place, (last = html));
      } catch { /* the studio was ended; the next round tries again */ }
    }
    if (place.isConnected) setTimeout(ask, 1000 * Number(place.dataset.every || 2));
  };
  ask();
}

for (const place of all("[data-live]")) live(place);
for (const place of all("[data-poll]")) poll(place);
