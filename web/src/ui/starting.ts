/** From the first visit to the first word: the button that begins, how far it is, and what went wrong. */

import { asFault } from "../faults";
import type { Stage } from "../engines/engine";
import { megabytes, roughly } from "../sizes";
import { el } from "./elements";
import { announce } from "./voice";

const STAGES: Readonly<Record<Stage, (title: string) => string>> = {
  fetching: (title) => `${title} is on the way`,
  starting: (title) => `${title} is waking up`,
  testing: (title) => `Listening whether ${title} sounds right`,
};

/** The button that begins: it names how much is fetched before anything is. */
export function invitation(title: string, bytes: number, kept: boolean, onStart: () => void): HTMLElement {
  const metered = (navigator as { connection?: { saveData?: boolean } }).connection?.saveData === true;
  const button = el(
    "button",
    { type: "button", class: "begin", onclick: onStart },
    kept ? "Start" : "Start ",
    !kept && el("span", { class: "begin-size" }, `(download ${megabytes(bytes)})`),
  );
  return el(
    "div",
    { class: "starting" },
    metered && !kept && el("p", { class: "warning", role: "note" }, `You asked your browser to save data. This fetches ${megabytes(bytes)}, about as much as an hour of music; on a metered connection, better come back on another.`),
    button,
    el("p", { class: "small" }, `${title} runs on your own device. It is fetched once and kept by your browser, and nothing you write leaves this page.`),
  );
}

/** How far the start is. */
export class Progress {
  readonly node: HTMLElement;
  private readonly label = el("p", { class: "progress-label" });
  private readonly detail = el("p", { class: "small progress-detail" });
  private readonly fill = el("div", { class: "progress-fill" });
  private readonly bar = el("div", { class: "progress", role: "progressbar", "aria-valuemin": 0, "aria-valuemax": 100 }, this.fill);
  private readonly note = el("p", { class: "small", hidden: true });
  private began = 0;
  private before = 0;
  private last = 0;

  constructor(
    private readonly title: string,
    private total: number,
    onCancel: () => void,
  ) {
    const cancel = el("button", { type: "button", class: "quiet", onclick: onCancel }, "Cancel");
    this.node = el("div", { class: "starting" }, this.label, this.bar, this.detail, this.note, cancel);
    this.bar.setAttribute("aria-label", `Start of ${title}`);
  }

  stage(stage: Stage): void {
    const words = STAGES[stage](this.title);
    this.label.textContent = words;
    this.node.dataset["stage"] = stage;
    if (stage !== "fetching") {
      this.bar.removeAttribute("aria-valuenow");
      this.detail.textContent = stage === "starting" ? "Unpacking on this device" : "A short self-test, against where it was made";
    } else this.began = 0;
    announce(words);
  }

  bytes(done: number): void {
    const now = performance.now();
    if (this.began === 0) {
      this.began = now;
      this.before = done;
    }
    if (now - this.last < 120 && done < this.total) return;
    this.last = now;
    const share = Math.min(1, done / Math.max(1, this.total));
    this.fill.style.setProperty("--share", String(share));
    this.bar.setAttribute("aria-valuenow", String(Math.round(share * 100)));
    const seconds = (now - this.began) / 1000;
    const rate = (done - this.before) / Math.max(seconds, 0.001);
    const left = seconds > 1.5 && rate > 0 && done < this.total ? ` · ${roughly((this.total - done) / rate)} left` : "";
    this.detail.textContent = `${megabytes(done)} of ${megabytes(this.total)}${left}`;
  }

  /** Another engine is tried. */
  next(total: number): void {
    this.total = total;
    this.note.hidden = false;
    this.note.textContent = "The faster way did not pass its test on this device, so another one is tried.";
  }
}

/** A fault in full: what happened, what to do, and the detail for who can use it. */
export function faultCard(error: unknown, onAgain: (() => void) | null): HTMLElement {
  const fault = asFault(error);
  return el(
    "div",
    { class: "fault", role: "alert" },
    el("h2", {}, fault.message),
    el("p", {}, fault.fix),
    onAgain && el("button", { type: "button", class: "begin", onclick: onAgain }, "Try again"),
    fault.where !== "" && el("details", {}, el("summary", {}, "For whoever made this page"), el("code", {}, fault.where)),
  );
}
