// Judging by keys: a key presses the button that bears it, once, and says how long the pair was in sight.
"use strict";
{
  let since = performance.now();
  const room = () => document.getElementById("judge-room");

  const buttonFor = (key) => [...document.querySelectorAll("[data-key-is]")]
    .find((one) => one.dataset.keyIs.split(" ").includes(key));

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    // A long reply is scrolled by the arrow keys of its own direction.
    const box = event.target.closest?.(".reply, .judge-prompt");
    if (box && ["ArrowDown", "ArrowUp"].includes(event.key) && box.scrollHeight > box.clientHeight) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const reason = /^[3-8]$/.test(key) && document.querySelector(`[data-reason="${key}"]`);
    const button = reason || buttonFor(key);
    if (!button) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    if (event.repeat || (!reason && room()?.classList.contains("htmx-request"))) return;
    button.click();
  }, true);

  document.addEventListener("submit", (event) => {
    const told = event.target.querySelector?.("input[name=told]");
    if (told) told.value = String(Math.round(performance.now() - since));
  }, true);

  // While a vote is on its way a second one is not sent.
  document.addEventListener("htmx:beforeRequest", (event) => {
    if (event.target.id === "vote" || event.target.querySelector?.("#undo")) room()?.classList.add("htmx-request");
  });
  document.addEventListener("htmx:afterRequest", () => room()?.classList.remove("htmx-request"));
  document.addEventListener("htmx:afterSwap", (event) => {
    if (event.target.id === "judge-room") since = performance.now();
  });
}
