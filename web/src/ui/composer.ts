/** Where the visitor writes; the button beside it sends, or stops what is being said. */

import { el, iconButton, turnInto } from "./elements";

export class Composer {
  readonly node: HTMLElement;
  private readonly area: HTMLTextAreaElement;
  private readonly button: HTMLButtonElement;
  private busy = false;

  constructor(
    title: string,
    private readonly onSend: (words: string) => void,
    private readonly onStop: () => void,
  ) {
    this.area = el("textarea", { rows: 1, placeholder: `Say something to ${title}`, "aria-label": `Say something to ${title}`, autocomplete: "off", enterkeyhint: "send" });
    this.button = iconButton("send", "Send", () => this.act(), "send");
    this.area.addEventListener("input", () => this.fit());
    this.area.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
        event.preventDefault();
        if (!this.busy) this.act();
      }
    });
    this.node = el("form", { class: "composer", onsubmit: (event: Event) => event.preventDefault() }, this.area, this.button);
    this.fit();
  }

  focus(): void {
    // On a touch screen the keyboard would jump up by itself.
    if (matchMedia("(hover: hover)").matches) this.area.focus();
  }

  write(words: string): void {
    this.area.value = words;
    this.fit();
    this.area.focus();
  }

  setBusy(busy: boolean): void {
    this.busy = busy;
    turnInto(this.button, busy ? "stop" : "send", busy ? "Stop (Esc)" : "Send");
    this.fit();
  }

  private act(): void {
    if (this.busy) return this.onStop();
    const words = this.area.value.trim();
    if (words === "") return;
    this.area.value = "";
    this.fit();
    this.onSend(words);
  }

  private fit(): void {
    this.button.disabled = !this.busy && this.area.value.trim() === "";
    this.area.style.height = "auto";
    // Not on the page yet, it has no height to go by.
    if (this.area.scrollHeight > 0) this.area.style.height = `${Math.min(this.area.scrollHeight, 200)}px`;
  }
}
