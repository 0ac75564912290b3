/** The conversation as it is seen: turns, the reply that is coming, and what can be done with them. */

import type { Character } from "../config";
import type { Conversation, Turn } from "../conversation";
import { el, iconButton, turnInto } from "./elements";
import { portrait } from "./portrait";
import { announce } from "./voice";

export interface TalkActions {
  readonly onRetry: () => void;
  readonly onEdit: (index: number, words: string) => void;
  readonly onChoose: (chosen: number) => void;
}

export class Talk {
  readonly node = el("ol", { class: "talk", "aria-label": "Conversation" });
  private coming: HTMLElement | null = null;
  private dropped = 0;

  constructor(
    private readonly character: Character,
    private readonly conversation: Conversation,
    private readonly actions: TalkActions,
  ) {}

  /** Everything anew; `busy` while a reply is coming. */
  draw(busy: boolean): void {
    this.coming = null;
    const { turns } = this.conversation;
    this.node.replaceChildren();
    for (const [index, turn] of turns.entries()) {
      if (index === this.dropped && this.dropped > 0) this.node.append(this.forgotten());
      const last = index === turns.length - 1;
      this.node.append(this.spoken(turn, index, busy));
      const reply = turn.replies[turn.chosen];
      if (last && busy) this.node.append((this.coming = this.thinking()));
      else if (reply) this.node.append(this.answered(turn, last));
    }
  }

  /** How many of the oldest turns the character does not read any more. */
  setDropped(dropped: number): void {
    if (dropped > this.dropped) announce(`${this.character.title} no longer remembers the beginning of this conversation.`);
    this.dropped = dropped;
  }

  /** The reply so far. */
  stream(text: string): void {
    const words = this.coming?.querySelector(".words");
    if (!words || text === "") return;
    words.textContent = text;
    words.classList.add("flowing");
  }

  private spoken(turn: Turn, index: number, busy: boolean): HTMLElement {
    const words = el("p", { class: "words" }, turn.words);
    const row = el("li", { class: "turn mine", "data-turn": index }, el("span", { class: "unseen" }, "You: "), words);
    if (!busy) row.append(el("div", { class: "tools" }, iconButton("edit", "Edit and ask again", () => this.edit(row, turn, index))));
    return row;
  }

  private edit(row: HTMLElement, turn: Turn, index: number): void {
    const area = el("textarea", { class: "rewrite", "aria-label": "Your words, to change", rows: Math.min(8, turn.words.split("\n").length + 1) });
    area.value = turn.words;
    const done = (): void => {
      const words = area.value.trim();
      if (words !== "") this.actions.onEdit(index, words);
    };
    const undo = (): void => {
      this.draw(false);
      this.node.querySelector<HTMLElement>(`[data-turn="${index}"] button`)?.focus();
    };
    area.addEventListener("keydown", (event) => {
      if (event.key === "Escape") undo();
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
        event.preventDefault();
        done();
      }
    });
    const later = this.conversation.turns.length - index - 1;
    row.classList.add("editing");
    row.replaceChildren(
      area,
      el(
        "div",
        { class: "rewrite-tools" },
        later > 0 && el("span", { class: "small" }, later === 1 ? "The turn after it goes away." : `The ${later} turns after it go away.`),
        el("button", { type: "button", class: "quiet", onclick: undo }, "Cancel"),
        el("button", { type: "button", class: "begin slim", onclick: done }, "Ask again"),
      ),
    );
    area.focus();
    area.setSelectionRange(area.value.length, area.value.length);
  }

  private thinking(): HTMLElement {
    const dots = el("span", { class: "dots", "aria-hidden": "true" }, el("i"), el("i"), el("i"));
    return el("li", { class: "turn theirs", "aria-busy": "true" }, portrait(this.character, "small"), el("div", { class: "said" }, el("p", { class: "words" }, dots)));
  }

  private answered(turn: Turn, last: boolean): HTMLElement {
    const reply = turn.replies[turn.chosen];
    const text = reply?.text ?? "";
    const tools = el("div", { class: "tools" });
    const copy: HTMLButtonElement = iconButton("copy", "Copy", () => {
      void navigator.clipboard.writeText(text).then(() => {
        turnInto(copy, "done", "Copied");
        announce("Copied");
        setTimeout(() => turnInto(copy, "copy", "Copy"), 1600);
      });
    });
    if (text !== "") tools.append(copy);
    if (last) {
      tools.append(iconButton("retry", "Another reply", this.actions.onRetry));
      if (turn.replies.length > 1) tools.append(this.choice(turn));
    }
    const end = reply?.end === "length" ? "Cut off at the longest reply; the settings say how long that is." : reply?.end === "stopped" ? "You stopped it here." : "";
    return el(
      "li",
      { class: "turn theirs" },
      portrait(this.character, "small"),
      el(
        "div",
        { class: "said" },
        el("span", { class: "unseen" }, `${this.character.title}: `),
        text === "" ? el("p", { class: "words silent" }, `${this.character.title} said nothing.`) : el("p", { class: "words" }, text),
        end !== "" && el("p", { class: "small end" }, end),
        tools,
      ),
    );
  }

  private choice(turn: Turn): HTMLElement {
    const { chosen, replies } = turn;
    const back = iconButton("back", "The reply before", () => this.actions.onChoose(chosen - 1));
    const forth = iconButton("forth", "The reply after", () => this.actions.onChoose(chosen + 1));
    back.disabled = chosen === 0;
    forth.disabled = chosen === replies.length - 1;
    return el("span", { class: "choice" }, back, el("span", { class: "choice-at" }, `${chosen + 1} of ${replies.length}`), forth);
  }

  private forgotten(): HTMLElement {
    return el("li", { class: "forgotten" }, `${this.character.title} no longer remembers what is above: only so much fits into its memory.`);
  }
}
