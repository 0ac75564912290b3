import { describe, expect, it } from "vitest";
import { readPage } from "../src/config";
import { PageFault } from "../src/faults";
import { ChatTemplate } from "../src/template";

const HASH = "0".repeat(64);

function page(): any {
  return {
    schema: "personatune-page/1",
    characters: [
      {
        name: "pip", title: "Pip", greeting: null, description: null, look: { colour: "#aa3366", emoji: "🦊", picture: null }, starters: ["Hello?"], system: null,
        template: "characters/pip/chat_template.jinja", bos_token: "<bos>", eos_token: null, stop_ids: [1, 106], context: 4096,
        parameters: { temperature: 0.8, top_p: 0.95, top_k: 64, min_p: 0, repetition_penalty: 1.1, max_new_tokens: 256, min_new_tokens: 0 },
        vocabulary: { size: 100, trimmed: false }, model: "m", run: "pip@r3", render_test: { messages: [{ role: "user", content: "a" }], text: "x" },
        engines: { wllama: { files: [{ path: "characters/pip/model-q8_0.gguf", bytes: 5, sha256: HASH }], self_test: { prompt: "a", prompt_ids: [1], greedy_ids: [2] } }, transformers: null },
      },
    ],
    engine_files: { wllama: [{ path: "engines/wllama.wasm.gz", bytes: 9 }] },
    made: "2026-11-22", personatune: "0.1.0",
  };
}

describe("page.json", () => {
  it("is read", () => {
    const [pip] = readPage(page()).characters;
    expect(pip?.engines.wllama?.files[0]?.sha256).toBe(HASH);
    expect(pip?.engines.transformers).toBeNull();
  });

  it("may say how sure the model is of its end, and need not", () => {
    const json = page();
    expect(readPage(json).characters[0]?.engines.wllama?.stopLogits).toEqual([]);
    json.characters[0].engines.wllama.stop_logits = { "106": 24.1 };
    expect(readPage(json).characters[0]?.engines.wllama?.stopLogits).toEqual([[106, 24.1]]);
  });

  it("knows the parts of a file that was cut", () => {
    const json = page();
    json.characters[0].engines.wllama.files[0].parts = [{ path: "a.part001", bytes: 3, sha256: HASH }, { path: "a.part002", bytes: 2, sha256: HASH }];
    const [file] = readPage(json).characters[0]?.engines.wllama?.files ?? [];
    expect(file?.parts.map(({ path, bytes }) => [path, bytes])).toEqual([["a.part001", 3], ["a.part002", 2]]);
    expect(file?.parts[0]?.parts).toEqual([]);
  });

  const broken: [string, string, (json: any) => void][] = [
    ["another schema", "schema", (json) => (json.schema = "personatune-page/2")],
    ["no characters", "characters", (json) => (json.characters = [])],
    ["a path to another host", "characters[0].template", (json) => (json.characters[0].template = "https://elsewhere.example/x")],
    ["a path to another host in disguise", "characters[0].template", (json) => (json.characters[0].template = "//elsewhere.example/x")],
    ["a path out of the folder", "path", (json) => (json.characters[0].engines.wllama.files[0].path = "../secret")],
    ["no self-test", "self_test", (json) => delete json.characters[0].engines.wllama.self_test],
    ["a temperature that is none", "characters[0].parameters.temperature", (json) => (json.characters[0].parameters.temperature = "hot")],
    ["a hash that is none", "sha256", (json) => (json.characters[0].engines.wllama.files[0].sha256 = "beef")],
    ["parts that are not the whole", "parts", (json) => (json.characters[0].engines.wllama.files[0].parts = [{ path: "a.part001", bytes: 4, sha256: HASH }])],
    ["a part out of the folder", "path", (json) => (json.characters[0].engines.wllama.files[0].parts = [{ path: "/a.part001", bytes: 5, sha256: HASH }])],
    ["a stop token's logit that is none", "stop_logits", (json) => (json.characters[0].engines.wllama.stop_logits = { "106": "high" })],
    ["a colour that is none", "characters[0].look.colour", (json) => (json.characters[0].look.colour = "red;}")],
    ["no stop tokens", "characters[0].stop_ids", (json) => (json.characters[0].stop_ids = [])],
  ];
  for (const [what, where, change] of broken) {
    it(`with ${what} is refused, and says where`, () => {
      const json = page();
      change(json);
      let fault: unknown;
      try {
        readPage(json);
      } catch (error) {
        fault = error;
      }
      expect(fault).toBeInstanceOf(PageFault);
      expect((fault as PageFault).where).toContain(where);
    });
  }

  for (const json of [null, [], 3, "x", {}]) it(`may not be ${JSON.stringify(json)}`, () => expect(() => readPage(json)).toThrow(PageFault));
});

describe("the chat template", () => {
  const GEMMA =
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{% set first = messages[0]['content'] + '\n\n' %}{% set rest = messages[1:] %}{% else %}{% set first = '' %}{% set rest = messages %}{% endif %}" +
    "{% for m in rest %}<start_of_turn>{{ 'model' if m['role'] == 'assistant' else m['role'] }}\n{{ (first if loop.first else '') + m['content'] | trim }}<end_of_turn>\n{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}";
  const of = (system: string | null): ChatTemplate => new ChatTemplate(GEMMA, { bosToken: "<bos>", eosToken: null, system });

  it("writes the system prompt first", () => {
    expect(of("Be brief.").prompt([{ role: "user", content: " hi " }])).toBe("<bos><start_of_turn>user\nBe brief.\n\nhi<end_of_turn>\n<start_of_turn>model\n");
  });

  it("is refused when a fixed conversation comes out otherwise than in Python", () => {
    const messages = [{ role: "user", content: "a" }];
    expect(() => of(null).check({ messages, text: "<bos><start_of_turn>user\na<end_of_turn>\n<start_of_turn>model\n" })).not.toThrow();
    expect(() => of(null).check({ messages, text: "<bos><start_of_turn>user\na<end_of_turn>\n" })).toThrow(PageFault);
  });

  it("is refused when it cannot be read at all", () => {
    expect(() => new ChatTemplate("{% for %}", { bosToken: "", eosToken: "", system: null })).toThrow(PageFault);
  });
});
