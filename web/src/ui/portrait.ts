/** What a character looks like: its picture, its emoji, or the first letter of its name. */

import type { Character } from "../config";
import { el } from "./elements";

export function portrait(character: Character, size: "small" | "large"): HTMLElement {
  const { picture, emoji } = character.look;
  const frame = el("span", { class: `portrait portrait-${size}`, "aria-hidden": "true" });
  if (picture !== null) {
    const image = el("img", { src: picture, alt: "" });
    image.onerror = () => frame.replaceChildren(sign(character, emoji));
    frame.append(image);
  } else frame.append(sign(character, emoji));
  return frame;
}

function sign(character: Character, emoji: string | null): HTMLElement {
  if (emoji) return el("span", { class: "portrait-emoji" }, emoji);
  return el("span", { class: "portrait-letter" }, [...character.title.trim()][0]?.toUpperCase() ?? "·");
}

/** The character in the browser's tab. */
export function showInTab(character: Character): void {
  document.title = character.title;
  const link = document.querySelector<HTMLLinkElement>('link[rel="icon"]');
  if (!link) return;
  if (character.look.picture) link.href = character.look.picture;
  else if (character.look.emoji) {
    const text = character.look.emoji.replace(/[&<>]/g, "");
    link.href = `data:image/svg+xml,${encodeURIComponent(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 100 100"><text y=".9em" font-size="90">${text}</text></svg>`)}`;
  }
}
