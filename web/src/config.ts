/** page.json: everything the page knows about its characters, checked before anything is done with it. */

import { PageFault } from "./faults";

export const SCHEMA = "personatune-page/1";

export interface FileEntry {
  readonly path: string;
  readonly bytes: number;
  /** Not given for the runtimes of the engines. */
  readonly sha256: string | null;
  /** What it was cut into for hosts that take no big files, in order; empty where it lies there whole. */
  readonly parts: readonly FileEntry[];
}

export interface SelfTest {
  /** The prompt as text; the tokens that it is made of; and the likeliest ones after it. */
  readonly prompt: string;
  readonly promptIds: readonly number[];
  readonly greedyIds: readonly number[];
}

interface ModelFiles {
  readonly files: readonly FileEntry[];
  readonly selfTest: SelfTest;
}

export interface WllamaFiles extends ModelFiles {
  /** How sure the model is of each stop token that stands in prompts too, where a reply ends with it. */
  readonly stopLogits: readonly (readonly [id: number, logit: number])[];
}

export interface TransformersFiles extends ModelFiles {
  readonly folder: string;
  readonly dtype: string;
}

export interface Parameters {
  readonly temperature: number;
  readonly top_p: number;
  readonly top_k: number;
  readonly min_p: number;
  readonly repetition_penalty: number;
  readonly max_new_tokens: number;
  readonly min_new_tokens: number;
  /** null: another one for every reply. */
  readonly seed: number | null;
}

export interface TemplateMessage {
  readonly role: string;
  readonly content: string;
}

export interface Character {
  readonly name: string;
  readonly title: string;
  readonly greeting: string | null;
  readonly description: string | null;
  readonly look: { readonly colour: string | null; readonly emoji: string | null; readonly picture: string | null };
  readonly starters: readonly string[];
  readonly system: string | null;
  readonly template: string;
  readonly bosToken: string | null;
  readonly eosToken: string | null;
  readonly stopIds: readonly number[];
  readonly context: number;
  readonly parameters: Parameters;
  readonly vocabulary: { readonly size: number; readonly trimmed: boolean };
  readonly model: string;
  readonly run: string;
  readonly renderTest: { readonly messages: readonly TemplateMessage[]; readonly text: string };
  readonly engines: { readonly wllama: WllamaFiles | null; readonly transformers: TransformersFiles | null };
}

export type EngineFiles = Readonly<Record<"wllama" | "wllama-compat" | "transformers-wasm" | "transformers-webgpu", readonly FileEntry[]>>;

export interface Page {
  readonly characters: readonly Character[];
  readonly engineFiles: EngineFiles;
  readonly made: string;
  readonly personatune: string;
}

/** The page that page.json describes; throws a `PageFault` that names the first key that is wrong. */
export function readPage(json: unknown): Page {
  const page = new Reader(json, "page.json");
  const schema = page.text("schema");
  if (schema !== SCHEMA) throw wrong("schema", `it says "${schema}", and this page reads "${SCHEMA}"`);
  const engineFiles = page.object("engine_files");
  const characters = page.list("characters").map(readCharacter);
  if (characters.length === 0) throw wrong("characters", "there is none");
  return {
    characters,
    engineFiles: {
      wllama: engineFiles.files("wllama"),
      "wllama-compat": engineFiles.files("wllama-compat"),
      "transformers-wasm": engineFiles.files("transformers-wasm"),
      "transformers-webgpu": engineFiles.files("transformers-webgpu"),
    },
    made: page.textOrNull("made") ?? "",
    personatune: page.textOrNull("personatune") ?? "",
  };
}

function readCharacter(one: Reader): Character {
  const look = one.object("look");
  const colour = look.textOrNull("colour");
  if (colour !== null && !/^#[0-9a-f]{6}$/i.test(colour)) throw wrong(look.at("colour"), `"${colour}" is not a colour like #aa3366`);
  const engines = one.object("engines");
  const wllama = engines.objectOrNull("wllama");
  const transformers = engines.objectOrNull("transformers");
  const test = one.object("render_test");
  const vocabulary = one.object("vocabulary");
  const picture = look.textOrNull("picture");
  return {
    name: one.text("name"),
    title: one.text("title"),
    greeting: one.textOrNull("greeting"),
    description: one.textOrNull("description"),
    look: { colour, emoji: look.textOrNull("emoji"), picture: picture === null ? null : inside(picture, look.at("picture")) },
    starters: one.texts("starters"),
    system: one.textOrNull("system"),
    template: inside(one.text("template"), one.at("template")),
    bosToken: one.textOrNull("bos_token"),
    eosToken: one.textOrNull("eos_token"),
    stopIds: one.ids("stop_ids"),
    context: one.count("context", 16),
    parameters: readParameters(one.object("parameters")),
    vocabulary: { size: vocabulary.count("size", 1), trimmed: vocabulary.truth("trimmed") },
    model: one.textOrNull("model") ?? "",
    run: one.textOrNull("run") ?? "",
    renderTest: {
      messages: test.list("messages").map((message) => ({ role: message.text("role"), content: message.text("content") })),
      text: test.text("text"),
    },
    engines: {
      wllama: wllama && { files: wllama.files("files"), selfTest: readSelfTest(wllama), stopLogits: readStopLogits(wllama) },
      transformers: transformers && {
        files: transformers.files("files"),
        selfTest: readSelfTest(transformers),
        folder: inside(transformers.text("folder"), transformers.at("folder")),
        dtype: transformers.text("dtype"),
      },
    },
  };
}

function readSelfTest(engine: Reader): SelfTest {
  const test = engine.object("self_test");
  return { prompt: test.text("prompt"), promptIds: test.ids("prompt_ids"), greedyIds: test.ids("greedy_ids") };
}

/** None in a page of before they were told. */
function readStopLogits(engine: Reader): [number, number][] {
  const told = engine.objectOrNull("stop_logits");
  return (told?.keys() ?? []).map((id) => [Number(id), told?.number(id, -1e4, 1e4) ?? 0]);
}

function readParameters(one: Reader): Parameters {
  return {
    temperature: one.number("temperature", 0, 5),
    top_p: one.number("top_p", 0, 1),
    top_k: one.count("top_k", 0),
    min_p: one.number("min_p", 0, 1),
    repetition_penalty: one.number("repetition_penalty", 0.1, 10),
    max_new_tokens: one.count("max_new_tokens", 1),
    min_new_tokens: one.count("min_new_tokens", 0),
    seed: null,
  };
}

/** A path that cannot leave the folder of the page. */
function inside(path: string, where: string): string {
  if (/^[a-z][a-z0-9+.-]*:|^[/\\]|\\|[?#]/i.test(path) || path.split("/").includes("..")) {
    throw wrong(where, `"${path}" is not a path inside this folder`);
  }
  return path;
}

function wrong(where: string, what: string): PageFault {
  return new PageFault(
    "This page's description of its character cannot be read.",
    "Export the character again with personatune, and upload the whole folder.",
    `page.json, ${where}: ${what}`,
  );
}

/** One object of page.json, which knows where it stands. */
class Reader {
  private readonly values: Readonly<Record<string, unknown>>;

  constructor(
    value: unknown,
    private readonly place: string,
  ) {
    if (typeof value !== "object" || value === null || Array.isArray(value)) throw wrong(place, "an object is missing");
    this.values = value as Record<string, unknown>;
  }

  at(key: string): string {
    return this.place === "page.json" ? key : `${this.place}.${key}`;
  }

  keys(): string[] {
    return Object.keys(this.values);
  }

  text(key: string): string {
    const value = this.values[key];
    if (typeof value !== "string") throw wrong(this.at(key), "a text is missing");
    return value;
  }

  textOrNull(key: string): string | null {
    return this.values[key] === null || this.values[key] === undefined ? null : this.text(key);
  }

  truth(key: string): boolean {
    const value = this.values[key];
    if (typeof value !== "boolean") throw wrong(this.at(key), "true or false is missing");
    return value;
  }

  number(key: string, least: number, most: number): number {
    const value = this.values[key];
    if (typeof value !== "number" || !Number.isFinite(value)) throw wrong(this.at(key), "a number is missing");
    if (value < least || value > most) throw wrong(this.at(key), `${value} is not between ${least} and ${most}`);
    return value;
  }

  count(key: string, least: number): number {
    const value = this.number(key, least, Number.MAX_SAFE_INTEGER);
    if (!Number.isInteger(value)) throw wrong(this.at(key), `${value} is not a whole number`);
    return value;
  }

  object(key: string): Reader {
    return new Reader(this.values[key], this.at(key));
  }

  objectOrNull(key: string): Reader | null {
    return this.values[key] === null || this.values[key] === undefined ? null : this.object(key);
  }

  list(key: string): Reader[] {
    return this.array(key).map((value, index) => new Reader(value, `${this.at(key)}[${index}]`));
  }

  texts(key: string): string[] {
    return this.array(key).map((value, index) => {
      if (typeof value !== "string") throw wrong(`${this.at(key)}[${index}]`, "a text is missing");
      return value;
    });
  }

  /** Token numbers, at least one. */
  ids(key: string): number[] {
    const values = this.array(key);
    if (values.length === 0 || !values.every((value) => Number.isInteger(value) && (value as number) >= 0)) {
      throw wrong(this.at(key), "token numbers are missing");
    }
    return values as number[];
  }

  /** Files; none when the key is missing. */
  files(key: string): FileEntry[] {
    if (this.values[key] === undefined || this.values[key] === null) return [];
    return this.list(key).map((file) => {
      const sha256 = file.textOrNull("sha256");
      if (sha256 !== null && !/^[0-9a-f]{64}$/.test(sha256)) throw wrong(file.at("sha256"), `"${sha256}" is not a SHA-256`);
      const bytes = file.count("bytes", 1);
      const parts = file.files("parts");
      if (parts.length > 0 && parts.reduce((sum, part) => sum + part.bytes, 0) !== bytes) throw wrong(file.at("parts"), "they do not add up to the file");
      return { path: inside(file.text("path"), file.at("path")), bytes, sha256, parts };
    });
  }

  private array(key: string): readonly unknown[] {
    const value = this.values[key];
    if (!Array.isArray(value)) throw wrong(this.at(key), "a list is missing");
    return value;
  }
}
