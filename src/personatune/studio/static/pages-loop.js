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
