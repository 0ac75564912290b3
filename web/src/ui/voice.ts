/** What a screen reader is told: whole replies and changes of state, never a word at a time. */

import { el } from "./elements";

const region = el("div", { class: "unseen", role: "status", "aria-live": "polite", "aria-atomic": "true" });

export function voice(): HTMLElement {
  return region;
}

export function announce(text: string): void {
  region.textContent = "";
  // Emptied first, so that the same words are said again.
  setTimeout(() => (region.textContent = text), 60);
}
