// Data, chat, sweep and compare: keys in forms, sliders beside their numbers. htmx and studio.js do the rest.
"use strict";

// Ctrl Enter sends the form one is writing in, Esc leaves it.
document.addEventListener("keydown", (event) => {
  const form = event.target.closest?.("form[data-ctrl-enter]");
  if (!form) return;
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    form.requestSubmit();
  } else if (event.key === "Escape") {
    const leave = form.querySelector("[data-escape]");
    if (leave) { event.preventDefault(); leave.click(); }
  }
});
document.addEventListener("click", (event) => {
  const button = event.target.closest?.("[data-empties]");
  if (button) document.querySelector(button.dataset.empties)?.replaceChildren();
});

// <input type="range" data-slides="ID"> moves with the number field ID, and the field with it.
document.addEventListener("input", (event) => {
  const slider = event.target.dataset?.slides ? event.target : document.querySelector(`[data-slides="${CSS.escape(event.target.id || "-")}"]`);
  if (!slider) return;
  const field = document.getElementById(slider.dataset.slides);
  if (event.target === slider) field.value = slider.value;
  else if (field.value !== "") slider.value = field.value;
});

// "As usual": every number field back to its data-usual.
document.addEventListener("click", (event) => {
  const button = event.target.closest?.("[data-usual-all]");
  if (!button) return;
  const form = document.querySelector(button.dataset.usualAll);
  for (const field of form.querySelectorAll("[data-usual]")) {
    field.value = field.dataset.usual;
    field.dispatchEvent(new Event("input", { bubbles: true }));
  }
  form.dispatchEvent(new Event("change", { bubbles: true }));
});

// --- chat ---------------------------------------------------------------------------------------------------

const composer = document.getElementById("composer");

// Enter says it; a reply is not begun while characters are still being composed (Japanese, Chinese, Korean).
document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing && event.target.matches?.("textarea[data-enter]")) {
    event.preventDefault();
    event.target.form.requestSubmit();
  } else if (event.key === "Escape" && !document.querySelector("dialog[open]")) {
    document.getElementById("stop")?.click();
  }
});

composer?.addEventListener("htmx:afterRequest", (event) => {
  if (event.detail.successful && event.detail.elt === composer) composer.elements.text.value = "";
});

/** Whether the end of the talk is in sight, or nearly. */
function isNearEnd() {
  const talk = document.getElementById("talk");
  return talk.getBoundingClientRect().bottom < innerHeight + 160;
}
/** Bring the end of the talk into sight, above the place where one writes. */
function toEnd() {
  document.getElementById("talk")?.lastElementChild?.scrollIntoView({ block: "nearest" });
}

/** Let the answer that is on its way appear, as text; then show the talk as the server has it. */
function follow(foot) {
  const talk = document.getElementById("talk");
  const source = new EventSource(foot.dataset.stream);
  const loading = foot.querySelector(".talk-loading");
  const state = (side, text) => {
    const place = document.querySelector(`#reply-${Number(side)} .answer-state`);
    if (place) place.textContent = text;
  };
  const seen = {};
  source.onopen = () => { for (const side in seen) seen[side].textContent = ""; };  // it is told from its beginning
  source.addEventListener("loading", (event) => {
    const { side, doing } = JSON.parse(event.data);
    foot.began ??= Date.now();
    loading.hidden = false;
    clearInterval(foot.timer);
    foot.timer = setInterval(() => state(side, `${doing}, ${Math.round((Date.now() - foot.began) / 1000)} s …`), 500);
    state(side, `${doing} …`);
  });
  source.addEventListener("begins", (event) => {
    clearInterval(foot.timer);
    delete foot.began;
    loading.hidden = true;
    state(JSON.parse(event.data).side, "reading what was said …");
  });
  source.addEventListener("piece", (event) => {
    const { side, text } = JSON.parse(event.data);
    const stay = isNearEnd();
    const place = seen[side] || (seen[side] = document.querySelector(`#reply-${Number(side)} .answer-text`));
    if (!place) return;
    state(side, "answering …");
    place.append(document.createTextNode(text));
    place.scrollTop = place.scrollHeight;
    if (stay) toEnd();
  });
  source.addEventListener("end", () => {
    source.close();
    clearInterval(foot.timer);
    if (foot.isConnected) htmx.ajax("GET", talk.dataset.talk, { target: "#talk" });
  });
  addEventListener("pagehide", () => source.close(), { once: true });
}

function begin(place) {
  const foot = place.querySelector("[data-stream]");
  if (foot && !foot.followed) { foot.followed = true; follow(foot); }
  const restore = place.querySelector("[data-restore]");
  if (restore && composer && !composer.elements.text.value) composer.elements.text.value = restore.dataset.restore;
  const talk = document.getElementById("talk");
  if (talk) talk.setAttribute("aria-busy", foot ? "true" : "false");
}
document.addEventListener("htmx:afterSwap", (event) => {
  if (event.detail.target.id === "talk") { begin(event.detail.target); toEnd(); }
});
// Remarks come when the check is done; rows that were changed, taken out or searched away meanwhile need theirs no more.
document.addEventListener("htmx:afterSwap", (event) => {
  for (const found of event.detail.target.querySelectorAll("[data-beside]")) {
    document.getElementById(found.dataset.beside)?.replaceChildren(...found.childNodes);
    found.remove();
  }
});
const talkPlace = document.getElementById("talk");
if (talkPlace) {
  begin(talkPlace);
  if (talkPlace.querySelector(".answer")) toEnd();
}

// Beside a talk there is no room on a narrow screen: what stands there is folded up first.
if (matchMedia("(max-width: 1080px)").matches) {
  for (const fold of document.querySelectorAll(".aside-fold[open]")) fold.open = false;
}

// Drafts: a, e and d decide about the one that has the focus; then the next one has it.
document.addEventListener("keydown", (event) => {
  const draft = event.target.closest?.("[data-draft]");
  if (!draft || event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, textarea, select")) return;
  const button = draft.querySelector(`[data-key="${CSS.escape(event.key)}"]`);
  if (button) { event.preventDefault(); event.stopPropagation(); button.click(); }
}, true);
document.addEventListener("htmx:afterSettle", (event) => {
  const gone = event.target.closest?.("[data-decided]") ?? document.querySelector("[data-decided]:not([data-seen])");
  if (!gone || gone.hasAttribute("data-seen")) return;
  gone.setAttribute("data-seen", "");
  let next = gone.nextElementSibling;
  while (next && !next.matches("[data-draft]")) next = next.nextElementSibling;
  (next ?? gone.firstElementChild).focus();
});
