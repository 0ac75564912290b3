/** What the browser keeps between visits: the conversation, chosen parameters, the look. Nothing of it leaves. */

import type { Parameters } from "./config";
import { Conversation, type Turn } from "./conversation";

const PLACE = `personatune ${new URL("./", location.href).pathname}`;

/** Pages of one host share this store, so every key says whose it is. */
function key(what: string): string {
  return `${PLACE} ${what}`;
}

export function keepConversation(name: string, conversation: Conversation): void {
  write(`conversation ${name}`, conversation.turns);
}

/** The conversation with `name` as it was left; an empty one when nothing readable is kept. */
export function keptConversation(name: string): Conversation {
  const turns = read(`conversation ${name}`);
  return new Conversation(Array.isArray(turns) && turns.every(isTurn) ? turns : []);
}

export function keepParameters(name: string, parameters: Parameters | null): void {
  write(`parameters ${name}`, parameters);
}

/** Parameters that the visitor chose, over the run's own; anything that is no number is left out. */
export function keptParameters(name: string, own: Parameters): Parameters {
  const kept = read(`parameters ${name}`);
  if (typeof kept !== "object" || kept === null) return own;
  const chosen: Record<string, number | null> = { ...own };
  for (const [which, value] of Object.entries(kept)) {
    if (which in own && ((typeof value === "number" && Number.isFinite(value)) || (which === "seed" && value === null))) chosen[which] = value;
  }
  return chosen as unknown as Parameters;
}

export type Room = "light" | "dark" | "auto";

export function keepRoom(room: Room): void {
  write("room", room);
}

export function keptRoom(): Room {
  const room = read("room");
  return room === "light" || room === "dark" ? room : "auto";
}

function isTurn(value: unknown): value is Turn {
  if (typeof value !== "object" || value === null) return false;
  const turn = value as Partial<Turn>;
  return (
    typeof turn.words === "string" &&
    Number.isInteger(turn.chosen) &&
    Array.isArray(turn.replies) &&
    turn.replies.every((reply: unknown) => typeof (reply as { text?: unknown } | null)?.text === "string")
  );
}

function read(what: string): unknown {
  try {
    return JSON.parse(localStorage.getItem(key(what)) ?? "null");
  } catch {
    return null;
  }
}

function write(what: string, value: unknown): void {
  try {
    if (value === null) localStorage.removeItem(key(what));
    else localStorage.setItem(key(what), JSON.stringify(value));
  } catch {
    // Full or forbidden: the conversation lives as long as the tab.
  }
}
