/** Light or dark, and the character's colours in it. */

import { colourOf, palette } from "../colours";
import type { Character } from "../config";
import { keepRoom, keptRoom, type Room } from "../kept";
import { iconButton, turnInto } from "./elements";

const asksDark = matchMedia("(prefers-color-scheme: dark)");

export class Lights {
  readonly button: HTMLButtonElement;
  private room: Room = keptRoom();
  private character: Character | null = null;

  constructor() {
    this.button = iconButton("dark", "Dark", () => this.toggle());
    asksDark.addEventListener("change", () => this.apply());
    this.apply();
  }

  show(character: Character): void {
    this.character = character;
    this.apply();
  }

  private now(): "light" | "dark" {
    return this.room === "auto" ? (asksDark.matches ? "dark" : "light") : this.room;
  }

  private toggle(): void {
    const other = this.now() === "dark" ? "light" : "dark";
    // What the system asks for anyway needs no memory: then the page follows it again.
    this.room = other === (asksDark.matches ? "dark" : "light") ? "auto" : other;
    keepRoom(this.room);
    this.apply();
  }

  private apply(): void {
    const room = this.now();
    const root = document.documentElement;
    root.dataset["room"] = room;
    const colour = this.character ? (this.character.look.colour ?? colourOf(this.character.name)) : "#7a6f80";
    const colours = palette(colour, room);
    for (const [name, value] of Object.entries(colours)) root.style.setProperty(`--${name}`, value);
    let meta = document.querySelector<HTMLMetaElement>('meta[name="theme-color"]');
    if (!meta) {
      meta = document.createElement("meta");
      meta.name = "theme-color";
      document.head.append(meta);
    }
    meta.content = colours.ground;
    turnInto(this.button, room === "dark" ? "light" : "dark", room === "dark" ? "Light colours" : "Dark colours");
  }
}
