/** Transformers.js beside the page: what it computes would otherwise freeze what the visitor sees. */

import { AutoModelForCausalLM, AutoTokenizer, env, Tensor } from "@huggingface/transformers";
import { chance, nextToken } from "../sampling";
import type { Parameters } from "../config";
import type { Reply } from "./engine";
import { shown } from "./text";
import type { Answer, DrawOrder, Order, StartOrder } from "./wire";

const FOLDER = "character";

interface Tokenizer {
  encode(text: string, options: { add_special_tokens: boolean }): number[];
  decode(ids: number[], options: { skip_special_tokens: boolean }): string;
}
type Outputs = Record<string, Tensor & { location?: string; dispose?: () => void }>;
interface Model {
  readonly sessions: Record<string, { inputNames: readonly string[] }>;
  forward(inputs: Record<string, unknown>): Promise<Outputs>;
}

let tokenizer: Tokenizer;
let model: Model;
let stopIds: readonly number[] = [];
/** The reply under way that shall stop, by the number of its order. */
let stopped = -1;
/** What the model has read, and what it remembers of it. */
let memory: { ids: number[]; past: Outputs } | null = null;

async function start(order: StartOrder): Promise<void> {
  env.allowRemoteModels = false;
  env.allowLocalModels = true;
  env.localModelPath = "/";
  env.useBrowserCache = false;
  env.useWasmCache = false;
  env.useCustomCache = true;
  env.customCache = {
    match: async (key: string) => {
      const path = key.split(`${FOLDER}/`).at(-1) ?? "";
      const blob = order.files.get(path);
      // Whatever is not among the files does not exist: nothing is ever asked from a host.
      return blob ? new Response(blob, { headers: { "content-length": String(blob.size) } }) : new Response(null, { status: 404 });
    },
    put: async () => undefined,
  };
  env.fetch = async () => new Response(null, { status: 404 });
  const wasm = env.backends.onnx.wasm;
  if (!wasm) throw new Error("Transformers.js has no WebAssembly backend");
  wasm.wasmPaths = { mjs: order.script };
  wasm.wasmBinary = order.binary;
  wasm.numThreads = order.threads;
  wasm.proxy = false;
  stopIds = order.stopIds;
  tokenizer = (await AutoTokenizer.from_pretrained(FOLDER, { local_files_only: true })) as unknown as Tokenizer;
  model = (await AutoModelForCausalLM.from_pretrained(FOLDER, {
    local_files_only: true,
    device: order.device,
    dtype: order.dtype as "q8",
  })) as unknown as Model;
}

/** The logits after `ids`; what the model remembers of the beginning is not read again. */
async function read(ids: number[]): Promise<Float32Array> {
  let known = memory?.ids.length ?? 0;
  if (!memory || known >= ids.length || memory.ids.some((id, at) => id !== ids[at])) {
    forget();
    known = 0;
  }
  const fresh = ids.slice(known);
  const whole = (values: number[]): Tensor => new Tensor("int64", BigInt64Array.from(values, BigInt), [1, values.length]);
  const inputs: Record<string, unknown> = {
    input_ids: whole(fresh),
    attention_mask: whole(ids.map(() => 1)),
    past_key_values: memory?.past ?? null,
  };
  if (model.sessions["model"]?.inputNames.includes("position_ids")) inputs["position_ids"] = whole(fresh.map((_, at) => known + at));
  const outputs = await model.forward(inputs);
  const past: Outputs = {};
  for (const [name, tensor] of Object.entries(outputs)) {
    if (name.startsWith("present")) past[name.replace("present", "past_key_values")] = tensor;
  }
  release(memory?.past);
  memory = { ids: ids.slice(), past };
  const logits = outputs["logits"];
  if (!logits) throw new Error("the model gives no logits");
  const vocabulary = logits.dims.at(-1) ?? 0;
  const data = logits.data as Float32Array;
  return Float32Array.from(data.subarray(data.length - vocabulary));
}

function forget(): void {
  release(memory?.past);
  memory = null;
}

function release(past: Outputs | undefined): void {
  for (const tensor of Object.values(past ?? {})) if (tensor.location === "gpu-buffer") tensor.dispose?.();
}

async function greedy(promptIds: readonly number[], count: number): Promise<number[]> {
  const ids = [...promptIds];
  const parameters: Parameters = {
    temperature: 0, top_p: 1, top_k: 0, min_p: 0, repetition_penalty: 1, max_new_tokens: count, min_new_tokens: 0, seed: 0,
  };
  while (ids.length < promptIds.length + count) {
    ids.push(nextToken(await read(ids), { parameters, random: () => 0, seen: [], stopIds, length: ids.length }));
  }
  forget();
  return ids.slice(promptIds.length);
}

async function generate(number: number, order: DrawOrder): Promise<Reply> {
  const prompt = tokenizer.encode(order.prompt, { add_special_tokens: false });
  const random = chance(order.seed);
  const made: number[] = [];
  let end: Reply["end"] = "length";
  let first = 0;
  let text = "";
  while (made.length < order.parameters.max_new_tokens) {
    if (stopped === number) {
      end = "stopped";
      break;
    }
    const ids = [...prompt, ...made];
    const logits = await read(ids);
    const token = nextToken(logits, { parameters: order.parameters, random, seen: ids, stopIds, length: made.length });
    if (made.length === 0) first = performance.now();
    if (stopIds.includes(token)) {
      end = "stop";
      break;
    }
    made.push(token);
    text = shown(tokenizer.decode(made, { skip_special_tokens: true }));
    tell({ id: number, kind: "text", value: text });
    await turn();
  }
  const seconds = (performance.now() - first) / 1000;
  return { text, end, tokens: made.length, speed: made.length > 1 ? (made.length - 1) / seconds : null };
}

/** Let messages in: WebAssembly leaves no gap for them by itself. */
function turn(): Promise<void> {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(null);
  });
}

function tell(answer: Answer): void {
  postMessage(answer);
}

async function obey(order: Exclude<Order, { verb: "stop" }>): Promise<unknown> {
  switch (order.verb) {
    case "start":
      return start(order.with);
    case "greedy":
      return greedy(order.with.promptIds, order.with.count);
    case "count":
      return tokenizer.encode(order.with, { add_special_tokens: false }).length;
    case "generate":
      return generate(order.id, order.with);
  }
}

addEventListener("message", ({ data }: MessageEvent<Order>) => {
  if (data.verb === "stop") {
    stopped = data.id;
    return;
  }
  obey(data).then(
    (value) => tell({ id: data.id, kind: "done", value }),
    (error: unknown) => tell({ id: data.id, kind: "failed", value: error instanceof Error ? error.message : String(error) }),
  );
});
