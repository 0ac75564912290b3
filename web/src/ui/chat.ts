/** The page of one character: the first screen, the start, and the conversation. */

import type { Character, Page, Parameters } from "../config";
import { type Conversation, fit } from "../conversation";
import { forgetAll, forgetOthers, missing, totalBytes } from "../download";
import { candidates, sizeOf, startFirst } from "../engines/choose";
import type { Candidate, Engine } from "../engines/engine";
import { asFault, isAbort, PageFault } from "../faults";
import { keepConversation, keepParameters, keptConversation, keptParameters } from "../kept";
import { anySeed } from "../sampling";
import type { ChatTemplate } from "../template";
import { asJson, asMarkdown } from "../written";
import { Composer } from "./composer";
import { Drawer } from "./drawer";
import { el } from "./elements";
import { paced } from "./pace";
import { portrait } from "./portrait";
import { faultCard, invitation, Progress } from "./starting";
import { Talk } from "./talk";
import { announce } from "./voice";

type State = "away" | "coming" | "ready" | "speaking";

/** Milliseconds between two drawings of a reply that is coming. */
const PAUSE = 100;

export class Chat {
  readonly node = el("main", { class: "chat" });
  readonly drawer: Drawer;
  private readonly welcome: HTMLElement;
  private readonly foot = el("div", { class: "foot" });
  private readonly starters = el("div", { class: "starters" });
  private readonly trouble = el("div", { class: "trouble" });
  private readonly composer: Composer;
  private readonly talk: Talk;
  private readonly conversation: Conversation;
  private readonly down: HTMLButtonElement;
  private parameters: Parameters;
  /** The engine that the address asks for. */
  private forced: string | null = null;
  private engine: Engine | null = null;
  private state: State = "away";
  private leaving = new AbortController();
  private stopping: AbortController | null = null;

  constructor(
    private readonly page: Page,
    private readonly character: Character,
    private readonly template: ChatTemplate,
    private readonly onStatus: (text: string) => void,
  ) {
    this.parameters = keptParameters(character.name, character.parameters);
    this.conversation = keptConversation(character.name);
    const lost = this.conversation.takeBack();
    this.composer = new Composer(character.title, (words) => this.say(words), () => this.stop());
    this.talk = new Talk(character, this.conversation, {
      onRetry: () => void this.answer(),
      onEdit: (index, words) => this.edit(index, words),
      onChoose: (chosen) => this.choose(chosen),
    });
    this.drawer = new Drawer(character, this.parameters, {
      onParameters: (parameters) => this.setParameters(parameters),
      onTake: (how) => void this.take(how),
      onForget: () => void this.forget(),
    });
    this.welcome = el(
      "section",
      { class: "welcome" },
      portrait(character, "large"),
      el("h1", {}, character.title),
      // The summary is its first paragraph; the rest is in the drawer.
      character.description !== null && el("p", { class: "description" }, character.description.split("\n\n")[0]),
      character.greeting !== null && character.greeting.trim() !== "" && el("p", { class: "greeting" }, character.greeting.trim()),
    );
    this.down = el("button", { type: "button", class: "to-end", hidden: true, onclick: () => this.toEnd(true) }, "To the end");
    this.node.append(el("div", { class: "scene" }, this.welcome, this.talk.node, this.trouble), el("div", { class: "below" }, this.down, this.foot), this.drawer.node);
    addEventListener("scroll", this.watchScroll, { passive: true, signal: this.leaving.signal });
    addEventListener("keydown", this.onKey, { signal: this.leaving.signal });
    this.draw();
    if (lost !== null) this.composer.write(lost);
  }

  /** Find an engine; begin by itself when everything is here already. */
  async open(forced: string | null): Promise<void> {
    this.forced = forced;
    this.onStatus("asleep");
    try {
      const list = await candidates(this.page, this.character, forced);
      const [first] = list;
      if (!first) {
        throw new PageFault(
          "This browser has nothing that this character can run in.",
          "Try a current Chrome, Edge, Firefox or Safari, on a computer if you are on a phone.",
          forced === null ? "no engine fits" : `?engine=${forced}`,
        );
      }
      const absent = await missing(first.files);
      if (absent.length === 0) await this.start(list);
      else this.foot.replaceChildren(invitation(this.character.title, totalBytes(absent), false, () => void this.start(list)));
    } catch (error) {
      this.fail(error, () => void this.open(forced));
    }
  }

  /** Start the conversation anew. */
  fresh(): void {
    this.stop();
    this.conversation.clear();
    this.talk.setDropped(0);
    this.keep();
    this.draw();
    if (this.state === "ready") this.composer.focus();
    announce("A new conversation");
  }

  /** Nothing of this character goes on. */
  async close(): Promise<void> {
    this.leaving.abort();
    this.stop();
    this.node.remove();
    await this.engine?.close();
  }

  private async start(list: readonly Candidate[]): Promise<void> {
    const first = list[0] as Candidate;
    const leave = new AbortController();
    const signal = AbortSignal.any([leave.signal, this.leaving.signal]);
    const progress = new Progress(this.character.title, sizeOf(first), () => leave.abort());
    this.state = "coming";
    this.onStatus("waking up");
    this.foot.replaceChildren(progress.node);
    try {
      const engine = await startFirst(list, this.character, {
        onStage: (stage) => progress.stage(stage),
        onBytes: (done) => progress.bytes(done),
        onNext: (candidate) => progress.next(sizeOf(candidate)),
        signal,
      });
      if (this.leaving.signal.aborted) return await engine.close();
      this.engine = engine;
      const wanted = list.filter(({ kind }) => kind === engine.kind).flatMap(({ files }) => files);
      if (this.page.characters.length === 1) void forgetOthers(wanted);
      void navigator.storage?.persist?.();
      this.state = "ready";
      this.drawer.show(engine, null);
      this.onStatus("on your device");
      this.draw();
      announce(`${this.character.title} is here.`);
      if (this.conversation.turns.length > 0) this.toEnd(false);
      this.composer.focus();
    } catch (error) {
      this.state = "away";
      if (this.leaving.signal.aborted) return;
      if (isAbort(error)) return await this.open(this.forced);
      this.fail(error, () => void this.start(list));
    }
  }

  private fail(error: unknown, onAgain: () => void): void {
    this.state = "away";
    this.onStatus("asleep");
    const card = faultCard(error, onAgain);
    this.foot.replaceChildren(card);
    card.scrollIntoView({ block: "nearest" });
  }

  private say(words: string): void {
    this.conversation.say(words);
    this.keep();
    void this.answer();
  }

  private edit(index: number, words: string): void {
    this.conversation.edit(index, words);
    this.keep();
    void this.answer();
  }

  private choose(chosen: number): void {
    this.conversation.choose(chosen);
    this.keep();
    this.draw();
    announce(this.conversation.turns.at(-1)?.replies[chosen]?.text ?? "");
  }

  private async answer(): Promise<void> {
    const { engine } = this;
    const before = this.conversation.turns.at(-1);
    if (!engine || this.state !== "ready" || !before) return;
    this.state = "speaking";
    this.stopping = new AbortController();
    this.onStatus("thinking");
    this.draw();
    this.toEnd(false);
    const coming = paced(PAUSE, (text: string) => {
      const follow = this.atEnd();
      this.onStatus("speaking");
      this.talk.stream(text);
      if (follow) this.toEnd(false);
    });
    try {
      const { parameters } = this;
      const { prompt, dropped, room } = await fit(this.conversation.turns, (messages) => this.template.prompt(messages), engine, parameters.max_new_tokens);
      this.talk.setDropped(dropped);
      const reply = await engine.generate(prompt, {
        parameters: { ...parameters, max_new_tokens: room },
        // Another reply to the same words needs another seed; the first one has just the chosen one.
        seed: parameters.seed === null ? anySeed() : (parameters.seed + before.replies.length) >>> 0,
        onText: coming.give,
        signal: this.stopping.signal,
      });
      if (this.conversation.turns.at(-1) === before && (reply.end !== "stopped" || reply.text !== "")) {
        this.conversation.answer({ text: reply.text, end: reply.end });
        announce(`${this.character.title}: ${reply.text}`);
      } else this.unsay(before.words);
      this.drawer.show(engine, reply.speed);
      this.trouble.replaceChildren();
    } catch (error) {
      this.trouble.replaceChildren(faultCard(asFault(error), null));
      this.toEnd(false);
      this.unsay(before.words);
    } finally {
      coming.end();
    }
    this.state = "ready";
    this.stopping = null;
    this.onStatus("on your device");
    this.keep();
    const follow = this.atEnd();
    this.draw();
    if (follow) this.toEnd(false);
    if (document.activeElement === document.body) this.composer.focus();
  }

  /** Words that got no reply go back to where they were written. */
  private unsay(words: string): void {
    if (this.conversation.takeBack() !== null) this.composer.write(words);
  }

  private stop(): void {
    this.stopping?.abort();
  }

  private setParameters(parameters: Parameters): void {
    this.parameters = parameters;
    keepParameters(this.character.name, parameters === this.character.parameters ? null : parameters);
  }

  private keep(): void {
    keepConversation(this.character.name, this.conversation);
  }

  private draw(): void {
    const empty = this.conversation.turns.length === 0;
    const speaking = this.state === "speaking";
    this.node.classList.toggle("empty", empty);
    this.talk.node.hidden = empty;
    this.talk.draw(speaking);
    this.composer.setBusy(speaking);
    this.starters.replaceChildren(
      ...this.character.starters.map((words) => el("button", { type: "button", class: "starter", onclick: () => this.say(words) }, words)),
    );
    this.starters.hidden = !empty || this.character.starters.length === 0;
    if (this.state === "ready" || speaking) {
      if (this.composer.node.parentElement !== this.foot) {
        this.foot.replaceChildren(this.starters, this.composer.node, el("p", { class: "small fineprint" }, `${this.character.title} is a small model on your device, and makes things up.`));
      }
    }
    this.watchScroll();
  }

  private async take(how: "copy" | "markdown" | "json"): Promise<void> {
    const { turns } = this.conversation;
    if (how === "copy") {
      await navigator.clipboard.writeText(asMarkdown(this.character, turns));
      announce("The conversation is copied.");
      return;
    }
    const text = how === "json" ? asJson(this.character, turns, this.parameters) : asMarkdown(this.character, turns);
    const url = URL.createObjectURL(new Blob([text], { type: how === "json" ? "application/json" : "text/markdown" }));
    const name = this.character.name.replace(/[^\p{L}\p{N}_-]+/gu, "-") || "conversation";
    el("a", { href: url, download: `${name}.${how === "json" ? "json" : "md"}` }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10_000);
  }

  private async forget(): Promise<void> {
    await forgetAll();
    announce("What was downloaded is removed.");
    await this.engine?.close();
    this.engine = null;
    this.drawer.show(null, null);
    this.state = "away";
    await this.open(this.forced);
  }

  private readonly onKey = (event: KeyboardEvent): void => {
    if (event.key === "Escape" && this.state === "speaking" && !this.drawer.node.open) this.stop();
  };

  private readonly watchScroll = (): void => {
    document.documentElement.classList.toggle("scrolled", document.documentElement.scrollTop > 8);
    this.down.hidden = this.atEnd() || this.conversation.turns.length === 0;
  };

  private atEnd(): boolean {
    const { scrollHeight, scrollTop, clientHeight } = document.documentElement;
    return scrollHeight - scrollTop - clientHeight < 90;
  }

  private toEnd(smoothly: boolean): void {
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    scrollTo({ top: document.documentElement.scrollHeight, behavior: smoothly && !still ? "smooth" : "instant" });
  }
}
