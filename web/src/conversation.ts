/** A conversation: turns, other replies to the same words, and what of it the model is given to read. */

import type { TemplateMessage } from "./config";
import { PageFault } from "./faults";

export interface Answered {
  readonly text: string;
  readonly end: "stop" | "length" | "stopped";
}

export interface Turn {
  readonly words: string;
  /** Every reply so far; none while the first is on its way. */
  readonly replies: readonly Answered[];
  /** Which of them belongs to the conversation. */
  readonly chosen: number;
}

export class Conversation {
  constructor(private list: readonly Turn[] = []) {}

  get turns(): readonly Turn[] {
    return this.list;
  }

  /** Say something new. */
  say(words: string): void {
    this.list = [...this.list, { words, replies: [], chosen: 0 }];
  }

  /** Say something else at `index`; what came after it never happened. */
  edit(index: number, words: string): void {
    this.list = [...this.list.slice(0, index), { words, replies: [], chosen: 0 }];
  }

  /** Another reply to the last words; the ones before stay at hand. */
  answer(reply: Answered): void {
    const last = this.list.at(-1);
    if (!last) return;
    const replies = [...last.replies, reply];
    this.list = [...this.list.slice(0, -1), { ...last, replies, chosen: replies.length - 1 }];
  }

  /** Go on from the reply `chosen` to the last words. */
  choose(chosen: number): void {
    const last = this.list.at(-1);
    if (last?.replies[chosen]) this.list = [...this.list.slice(0, -1), { ...last, chosen }];
  }

  /** Take the last turn back, unless it has a reply; its words, when it is taken. */
  takeBack(): string | null {
    const last = this.list.at(-1);
    if (!last || last.replies.length > 0) return null;
    this.list = this.list.slice(0, -1);
    return last.words;
  }

  clear(): void {
    this.list = [];
  }
}

/** The turns as messages up to the last words, for one more reply to them. */
export function messagesOf(turns: readonly Turn[]): TemplateMessage[] {
  return turns.flatMap((turn, index) => {
    const said: TemplateMessage[] = [{ role: "user", content: turn.words }];
    const reply = turn.replies[turn.chosen];
    if (reply && index < turns.length - 1) said.push({ role: "assistant", content: reply.text });
    return said;
  });
}

export interface Reader {
  readonly context: number;
  count(prompt: string): Promise<number>;
}

export interface Fitted {
  readonly prompt: string;
  /** How many of the oldest turns the model does not read any more. */
  readonly dropped: number;
  /** The most tokens that the reply may have. */
  readonly room: number;
}

/** The prompt with as many of the last turns as leave room for a reply; oldest turns go first, and whole. */
export async function fit(
  turns: readonly Turn[],
  write: (messages: readonly TemplateMessage[]) => string,
  reader: Reader,
  longest: number,
): Promise<Fitted> {
  const reserve = Math.min(longest, Math.max(1, Math.floor(reader.context / 4)));
  for (let dropped = 0; dropped < turns.length; dropped++) {
    const prompt = write(messagesOf(turns.slice(dropped)));
    // A token holds a byte at least, so short conversations need no counting.
    const most = new TextEncoder().encode(prompt).length;
    const tokens = most + longest <= reader.context ? most : await reader.count(prompt);
    const room = reader.context - tokens;
    const last = dropped === turns.length - 1;
    if (room >= reserve || (last && room >= Math.min(16, longest))) return { prompt, dropped, room: Math.min(longest, room) };
  }
  throw new PageFault("That message is too long for this character.", `Shorten it: the character reads ${reader.context} tokens at once, about ${Math.round(reader.context * 0.75)} words.`);
}
