import { describe, expect, it } from "vitest";
import { Conversation, fit, messagesOf } from "../src/conversation";
import type { TemplateMessage } from "../src/config";
import { PageFault } from "../src/faults";
import { asJson, asMarkdown } from "../src/written";

const write = (messages: readonly TemplateMessage[]): string => messages.map(({ role, content }) => `${role}: ${content}\n`).join("");
/** A reader for whom every character is a token. */
const reader = (context: number) => ({ context, count: async (prompt: string) => prompt.length });

function long(turns: number, size: number): Conversation {
  const talk = new Conversation();
  for (let i = 0; i < turns; i++) {
    talk.say(`${i}`.padEnd(size, "q"));
    if (i < turns - 1) talk.answer({ text: `${i}`.padEnd(size, "a"), end: "stop" });
  }
  return talk;
}

describe("a conversation", () => {
  it("keeps every reply to the last words, and goes on from the chosen one", () => {
    const talk = new Conversation();
    talk.say("hello");
    talk.answer({ text: "one", end: "stop" });
    talk.answer({ text: "two", end: "stop" });
    expect(messagesOf(talk.turns)).toEqual([{ role: "user", content: "hello" }]);
    talk.choose(0);
    talk.say("and?");
    expect(messagesOf(talk.turns).map(({ content }) => content)).toEqual(["hello", "one", "and?"]);
    expect(talk.turns[0]?.replies.length).toBe(2);
  });

  it("forgets what came after words that were changed", () => {
    const talk = long(4, 5);
    talk.edit(1, "instead");
    expect(talk.turns.map(({ words }) => words)).toEqual(["0qqqq", "instead"]);
    expect(talk.turns[1]?.replies).toEqual([]);
  });

  it("gives back words that never got a reply, and only those", () => {
    const talk = new Conversation();
    talk.say("lost");
    expect(talk.takeBack()).toBe("lost");
    talk.say("kept");
    talk.answer({ text: "", end: "stop" });
    expect(talk.takeBack()).toBeNull();
    expect(talk.turns.length).toBe(1);
  });
});

describe("what the model reads", () => {
  it("is everything while there is room", async () => {
    const { dropped, prompt } = await fit(long(4, 10).turns, write, reader(4000), 100);
    expect(dropped).toBe(0);
    expect(prompt).toContain("0q");
  });

  it("loses its oldest turns whole, and as few as possible", async () => {
    for (const context of [120, 150, 200, 260]) {
      const talk = long(8, 20);
      const { dropped, prompt, room } = await fit(talk.turns, write, reader(context), 30);
      expect(prompt.length + room).toBeLessThanOrEqual(context);
      expect(prompt.startsWith("user: ")).toBe(true);
      expect(prompt).toContain("7qqq");
      const fewer = write(messagesOf(talk.turns.slice(dropped - 1)));
      expect(dropped === 0 || context - fewer.length < Math.min(30, context / 4)).toBe(true);
    }
  });

  it("says so when one message is too long", async () => {
    await expect(fit(long(1, 500).turns, write, reader(400), 30)).rejects.toThrow(PageFault);
  });

  it("leaves the reply no more room than there is", async () => {
    expect((await fit(long(1, 300).turns, write, reader(400), 1000)).room).toBe(400 - write(messagesOf(long(1, 300).turns)).length);
  });
});

describe("a conversation to take along", () => {
  it("holds the chosen replies, in both forms", () => {
    const talk = new Conversation();
    talk.say("<b>hi</b>");
    talk.answer({ text: "no", end: "stop" });
    talk.answer({ text: "yes", end: "stop" });
    const who = { name: "pip", title: "Pip", run: "pip@r3", system: null };
    expect(asMarkdown(who, talk.turns)).toBe("# A conversation with Pip\n\n**You:** <b>hi</b>\n\n**Pip:** yes\n");
    const json = JSON.parse(asJson(who, talk.turns, { temperature: 1, top_p: 1, top_k: 0, min_p: 0, repetition_penalty: 1, max_new_tokens: 9, min_new_tokens: 0, seed: null }));
    expect(json.messages).toEqual([{ role: "user", content: "<b>hi</b>" }, { role: "assistant", content: "yes" }]);
  });
});
