/** A conversation to take along: as Markdown to read, as JSON to work with. */

import type { Character, Parameters } from "./config";
import type { Turn } from "./conversation";

export function asMarkdown(character: Pick<Character, "title" | "run">, turns: readonly Turn[]): string {
  const parts = [`# A conversation with ${character.title}`];
  for (const turn of turns) {
    parts.push(`**You:** ${turn.words}`);
    const reply = turn.replies[turn.chosen];
    if (reply) parts.push(`**${character.title}:** ${reply.text}`);
  }
  return `${parts.join("\n\n")}\n`;
}

export function asJson(character: Pick<Character, "name" | "run" | "system">, turns: readonly Turn[], parameters: Parameters): string {
  const messages = turns.flatMap((turn) => {
    const reply = turn.replies[turn.chosen];
    return [{ role: "user", content: turn.words }, ...(reply ? [{ role: "assistant", content: reply.text }] : [])];
  });
  const { name, run, system } = character;
  return `${JSON.stringify({ character: name, run, system, parameters, messages }, null, 2)}\n`;
}
