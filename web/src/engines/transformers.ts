/** ONNX in Transformers.js, on the graphics card or in WebAssembly, in a worker of its own. */

import type { Character, EngineFiles, SelfTest } from "../config";
import { unpacked } from "../download";
import { PageFault } from "../faults";
import { type Candidate, type Engine, type Fetched, type GenerateOptions, type Reply, threadsHere } from "./engine";
import type { Answer, Order, StartOrder } from "./wire";

type Kind = "transformers-webgpu" | "transformers-wasm";

export function transformersCandidate(kind: Kind, character: Character, runtimes: EngineFiles): Candidate | null {
  const model = character.engines.transformers;
  const runtime = runtimes[kind];
  if (!model || runtime.length === 0) return null;
  return { kind, files: [...runtime, ...model.files], start: (fetched) => start(kind, character, fetched) };
}

async function start(kind: Kind, character: Character, fetched: readonly Fetched[]): Promise<Engine> {
  const model = character.engines.transformers;
  const script = fetched.find(({ file }) => file.path.endsWith(".mjs"));
  const binary = fetched.find(({ file }) => /\.wasm(\.gz)?$/.test(file.path));
  if (!model || !script || !binary) throw new Error(`the runtime of ${kind} is not complete`);
  const files = new Map<string, Blob>();
  for (const { file, blob } of fetched) {
    if (!model.files.includes(file)) continue;
    const path = file.path.startsWith(`${model.folder}/`) ? file.path.slice(model.folder.length + 1) : file.path;
    files.set(path.replace(/\.gz$/, ""), await unpacked(path, blob, path.includes(".json") ? "application/json" : undefined));
  }
  const threads = threadsHere();
  const worker = new WorkerEngine(kind, character, kind === "transformers-webgpu" ? 0 : threads);
  const buffer = await (await unpacked(binary.file.path, binary.blob)).arrayBuffer();
  await worker.begin({
    device: kind === "transformers-webgpu" ? "webgpu" : "wasm",
    threads,
    dtype: model.dtype,
    stopIds: character.stopIds,
    script: new URL(script.file.path, new URL("./", location.href)).href,
    binary: buffer,
    files,
  });
  return worker;
}

interface Waiting {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
  readonly onText?: ((text: string) => void) | undefined;
}

type Unnumbered<T> = T extends { readonly id: number } ? Omit<T, "id"> : never;

class WorkerEngine implements Engine {
  readonly context: number;
  private readonly worker = new Worker(new URL("./transformers.worker.ts", import.meta.url), { type: "module", name: "character" });
  private readonly waiting = new Map<number, Waiting>();
  private orders = 0;

  constructor(
    readonly kind: Kind,
    character: Character,
    readonly threads: number,
  ) {
    this.context = character.context;
    this.worker.onmessage = ({ data }: MessageEvent<Answer>) => this.hear(data);
    this.worker.onerror = (event) => {
      event.preventDefault();
      for (const id of [...this.waiting.keys()]) this.hear({ id, kind: "failed", value: event.message || "the worker ended" });
    };
  }

  async begin(order: StartOrder): Promise<void> {
    try {
      await this.ask({ verb: "start", with: order });
    } catch (error) {
      await this.close();
      throw error;
    }
  }

  greedy({ promptIds }: SelfTest, count: number): Promise<readonly number[]> {
    return this.ask({ verb: "greedy", with: { promptIds, count } });
  }

  count(prompt: string): Promise<number> {
    return this.ask({ verb: "count", with: prompt });
  }

  async generate(prompt: string, { parameters, seed, onText, signal }: GenerateOptions): Promise<Reply> {
    const id = ++this.orders;
    const stop = (): void => this.worker.postMessage({ id, verb: "stop" } satisfies Order);
    signal.addEventListener("abort", stop);
    if (signal.aborted) stop();
    try {
      return await this.ask({ verb: "generate", with: { prompt, parameters, seed } }, onText, id);
    } catch (error) {
      const text = error instanceof Error ? error.message : String(error);
      throw new PageFault("The character stopped in the middle.", "Try again; if it stays, load the page again.", `${this.kind}: ${text}`);
    } finally {
      signal.removeEventListener("abort", stop);
    }
  }

  async close(): Promise<void> {
    this.worker.terminate();
  }

  private ask<T>(order: Unnumbered<Order>, onText?: (text: string) => void, id = ++this.orders): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.waiting.set(id, { resolve: resolve as (value: unknown) => void, reject, onText });
      this.worker.postMessage({ ...order, id });
    });
  }

  private hear(answer: Answer): void {
    const one = this.waiting.get(answer.id);
    if (!one) return;
    if (answer.kind === "text") return one.onText?.(answer.value);
    this.waiting.delete(answer.id);
    if (answer.kind === "done") one.resolve(answer.value);
    else one.reject(new Error(answer.value));
  }
}
