/** The drawer: how replies are drawn, what to take along, and what this page is made of. */

import type { Character, Parameters } from "../config";
import type { Engine } from "../engines/engine";
import { el, iconButton } from "./elements";
import { announce } from "./voice";

interface Field {
  readonly key: Exclude<keyof Parameters, "min_new_tokens">;
  readonly label: string;
  readonly does: string;
  readonly least: number;
  readonly most: number;
  readonly step: number;
  /** Where the slider ends; the number beside it may go on. */
  readonly slider: number;
}

export const FIELDS: readonly Field[] = [
  { key: "temperature", label: "Temperature", does: "How adventurous the words are: 0 always takes the likeliest one, 1 speaks as it learned.", least: 0, most: 5, step: 0.05, slider: 2 },
  { key: "top_p", label: "Top P", does: "Draws from the likeliest words that together hold this share of the probability; 1 is off.", least: 0.01, most: 1, step: 0.01, slider: 1 },
  { key: "top_k", label: "Top K", does: "Draws from this many of the likeliest words; 0 is off.", least: 0, most: 100000, step: 1, slider: 200 },
  { key: "min_p", label: "Min P", does: "Leaves out words less likely than this share of the likeliest one; 0 is off.", least: 0, most: 0.99, step: 0.01, slider: 0.5 },
  { key: "repetition_penalty", label: "Repetition penalty", does: "Makes words that were said already less likely; 1 is off, 1.1 keeps small models out of circles.", least: 0.1, most: 10, step: 0.01, slider: 2 },
  { key: "max_new_tokens", label: "Longest reply", does: "Cuts a reply off at this many tokens; a token is about three quarters of a word.", least: 1, most: 32768, step: 1, slider: 1024 },
  { key: "seed", label: "Seed", does: "The same number gives the same reply to the same words; empty gives another one every time.", least: 0, most: 4294967295, step: 1, slider: 0 },
];

export interface DrawerActions {
  readonly onParameters: (parameters: Parameters) => void;
  readonly onTake: (how: "copy" | "markdown" | "json") => void;
  readonly onForget: () => void;
}

export class Drawer {
  readonly node: HTMLDialogElement;
  private readonly fields = el("div", { class: "fields" });
  private readonly reset: HTMLButtonElement;
  private readonly facts = el("dl", { class: "facts" });

  constructor(
    private readonly character: Character,
    private parameters: Parameters,
    private readonly actions: DrawerActions,
  ) {
    this.reset = el("button", { type: "button", class: "quiet", onclick: () => this.change(character.parameters, true) }, "Back to the run's own");
    const take = (how: "copy" | "markdown" | "json", label: string): HTMLElement => el("button", { type: "button", class: "quiet", onclick: () => actions.onTake(how) }, label);
    this.node = el(
      "dialog",
      { class: "drawer", "aria-labelledby": "drawer-title" },
      el(
        "div",
        { class: "drawer-inside" },
        el("header", { class: "drawer-top" }, el("h2", { id: "drawer-title" }, "Settings"), iconButton("close", "Close", () => this.node.close())),
        el("section", {}, el("h3", {}, `How ${character.title} speaks`), this.fields, this.reset),
        el("section", {}, el("h3", {}, "This conversation"), el("p", { class: "small" }, "It is kept in this browser and nowhere else."), el("div", { class: "buttons" }, take("copy", "Copy"), take("markdown", "Save as Markdown"), take("json", "Save as JSON"))),
        el(
          "section",
          {},
          el("h3", {}, `About ${character.title}`),
          character.description !== null && el("p", { class: "about" }, character.description),
          this.facts,
          el("p", { class: "small" }, "A small language model: it makes things up, and means none of it. Everything is computed on your own device."),
          el("button", { type: "button", class: "quiet", onclick: () => this.forget() }, "Remove what was downloaded"),
        ),
      ),
    );
    this.node.addEventListener("click", (event) => {
      if (event.target === this.node) this.node.close(); // beside it
    });
    this.draw();
    this.show(null, null);
  }

  open(): void {
    this.node.showModal();
  }

  /** What computes, and how fast it was last. */
  show(engine: Engine | null, speed: number | null): void {
    const { character } = this;
    const { size, trimmed } = character.vocabulary;
    const how = engine === null ? "not started" : engine.kind === "wllama" ? "llama.cpp (wllama)" : engine.kind === "transformers-webgpu" ? "ONNX on the graphics card" : "ONNX in WebAssembly";
    const threads = engine === null || engine.threads === 0 ? "" : engine.threads === 1 ? ", 1 thread" : `, ${engine.threads} threads`;
    const facts: [string, string][] = [
      ["Run", character.run],
      ["Made from", character.model],
      ["Vocabulary", `${size.toLocaleString("en")} tokens${trimmed ? ", trimmed" : ""}`],
      ["Remembers", `${(engine?.context ?? character.context).toLocaleString("en")} tokens`],
      ["Engine", how + threads],
    ];
    if (speed !== null) facts.push(["Speed", `${speed.toFixed(1)} tokens a second`]);
    this.facts.replaceChildren(...facts.filter(([, value]) => value !== "").flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
  }

  private forget(): void {
    this.node.close();
    this.actions.onForget();
  }

  private change(parameters: Parameters, redraw: boolean): void {
    this.parameters = parameters;
    this.actions.onParameters(parameters);
    if (redraw) {
      this.draw();
      announce("The run's own settings are back.");
    }
    this.mark();
  }

  private draw(): void {
    this.fields.replaceChildren(...FIELDS.map((field) => this.field(field)));
    this.mark();
  }

  private mark(): void {
    this.reset.disabled = FIELDS.every(({ key }) => this.parameters[key] === this.character.parameters[key]);
  }

  private field(field: Field): HTMLElement {
    const { key, least, most, step } = field;
    const id = `field-${key}`;
    const value = this.parameters[key];
    const number = el("input", { id, type: "number", inputmode: "decimal", min: least, max: most, step: "any", value: value === null ? "" : String(value), "aria-describedby": `${id}-does`, placeholder: key === "seed" ? "any" : "" });
    const slider = field.slider > 0 ? el("input", { type: "range", min: least, max: field.slider, step, value: String(value), tabindex: -1, "aria-hidden": "true" }) : null;
    const fill = (): void => slider?.style.setProperty("--fill", `${(100 * (Number(slider.value) - least)) / (field.slider - least)}%`);
    const take = (text: string): void => {
      fill();
      const empty = text.trim() === "";
      let next: number | null = Number(text);
      if (empty && key === "seed") next = null;
      else if (empty || !Number.isFinite(next)) return;
      else {
        next = Math.min(most, Math.max(least, next));
        if (step === 1) next = Math.round(next);
      }
      this.change({ ...this.parameters, [key]: next }, false);
    };
    number.addEventListener("input", () => {
      if (slider) slider.value = number.value;
      take(number.value);
    });
    number.addEventListener("change", () => {
      const now = this.parameters[key];
      number.value = now === null ? "" : String(now);
    });
    slider?.addEventListener("input", () => {
      number.value = slider.value;
      take(slider.value);
    });
    fill();
    return el("div", { class: "field" }, el("label", { for: id }, field.label), number, slider, el("p", { id: `${id}-does`, class: "small" }, field.does));
  }
}
