/** The run's own chat template: a conversation as the text that the character learned to go on from. */

import { Template } from "@huggingface/jinja";
import type { Character, TemplateMessage } from "./config";
import { PageFault } from "./faults";

export class ChatTemplate {
  private readonly template: Template;

  constructor(
    source: string,
    private readonly character: Pick<Character, "bosToken" | "eosToken" | "system">,
  ) {
    try {
      this.template = new Template(source);
    } catch (error) {
      throw cannot(error);
    }
  }

  /** The text up to where the character begins to speak; the system prompt comes first, where there is one. */
  prompt(messages: readonly TemplateMessage[]): string {
    const { system } = this.character;
    return this.render(system === null ? messages : [{ role: "system", content: system }, ...messages], true);
  }

  /** Throws a `PageFault` unless the fixed conversation comes out just as Python wrote it. */
  check(test: Character["renderTest"]): void {
    const last = test.messages.at(-1)?.role;
    let text: string;
    try {
      text = this.render(test.messages, last !== "assistant");
    } catch (error) {
      throw cannot(error);
    }
    if (text !== test.text) throw cannot(`expected ${JSON.stringify(test.text)}, wrote ${JSON.stringify(text)}`);
  }

  private render(messages: readonly TemplateMessage[], toAnswer: boolean): string {
    return this.template.render({
      messages,
      bos_token: this.character.bosToken ?? "",
      eos_token: this.character.eosToken ?? "",
      add_generation_prompt: toAnswer,
    });
  }
}

function cannot(error: unknown): PageFault {
  return new PageFault(
    "This page cannot write the conversation the way the character learned it, so it would not be itself.",
    "Export the character again with a newer personatune.",
    `chat template: ${error instanceof Error ? error.message : String(error)}`,
  );
}
