/** llama.cpp in WebAssembly, by wllama: works in every browser of these years, and is the fastest without a graphics card. */

import { Wllama } from "@wllama/wllama";
import type { Character, SelfTest } from "../config";
import { unpacked } from "../download";
import { PageFault } from "../faults";
import { type Candidate, type Engine, type Fetched, type GenerateOptions, type MakeCandidate, type Reply, SOME_STOP, threadsHere } from "./engine";
import { shown } from "./text";

/** The laws of the local engine in its order; what is not named here is off. */
const SAMPLERS = ["penalties", "temperature", "top_k", "top_p", "min_p"];

interface Piece {
  readonly text?: string;
  readonly finish_reason?: string | null;
  readonly logprobs?: { readonly content?: readonly { readonly id: number }[] } | null;
}

interface Chunk {
  readonly choices: readonly Piece[];
  readonly usage?: { readonly prompt_tokens?: number; readonly completion_tokens?: number } | null;
}

/** Whether the build for old browsers is needed: no promises in WebAssembly, or no memory of 64 bits. */
function needsCompat(): boolean {
  if (/Firefox\//.test(navigator.userAgent)) return false;
  if (!("Suspending" in WebAssembly)) return true;
  try {
    new WebAssembly.Memory({ address: "i64", initial: 1n } as unknown as WebAssembly.MemoryDescriptor);
    return false;
  } catch {
    return true;
  }
}

export const wllamaCandidate: MakeCandidate = (character, runtimes): Candidate | null => {
  const model = character.engines.wllama;
  const runtime = runtimes[needsCompat() ? "wllama-compat" : "wllama"];
  if (!model || runtime.length === 0) return null;
  return { kind: "wllama", files: [...runtime, ...model.files], start: (fetched) => start(character, fetched) };
};

async function start(character: Character, fetched: readonly Fetched[]): Promise<Engine> {
  const find = (pattern: RegExp): Fetched | undefined => fetched.find(({ file }) => pattern.test(file.path));
  const wasm = find(/\.wasm(\.gz)?$/);
  if (!wasm) throw new Error("wllama has no .wasm among its files");
  const script = find(/\.js(\.gz)?$/);
  const urls: string[] = [];
  /** The last lines of llama.cpp's own log, for faults. */
  const said: string[] = [];
  const urlOf = async ({ file, blob }: Fetched, type: string): Promise<string> => {
    const url = URL.createObjectURL(await unpacked(file.path, blob, type));
    urls.push(url);
    return url;
  };
  const wasmUrl = await urlOf(wasm, "application/wasm");
  const wllama = new Wllama({ default: wasmUrl }, { logger: quiet(said) });
  wllama.setCompat(script ? { wasm: wasmUrl, worker: { code: await (await unpacked(script.file.path, script.blob)).text() } } : null);
  const shards = fetched.filter(({ file }) => character.engines.wllama?.files.includes(file));
  const threads = threadsHere();
  try {
    await wllama.loadModel(
      // Parts keep their names, by which wllama puts them in order.
      shards.map(({ file, blob }) => new File([blob], file.path.split("/").at(-1) ?? "model.gguf")),
      {
        log_level: 3, // warnings and errors
        n_ctx: character.context,
        n_threads: threads,
        n_gpu_layers: 0,
        n_parallel: 1,
        // With only the window kept, llama.cpp cannot go on where it was: it would read the last turns anew at every reply.
        swa_full: true,
        // The template writes the token that begins a text; llama.cpp must not write a second one.
        // llama.cpp wants an empty key at the end of the list, which wllama does not add.
        kv_overrides: { "tokenizer.ggml.add_bos_token": "bool:false", "": "bool:false" },
      },
    );
  } catch (error) {
    await wllama.exit().catch(() => undefined);
    throw new Error([error instanceof Error ? error.message : String(error), ...said].join("; "));
  } finally {
    for (const url of urls) URL.revokeObjectURL(url);
  }
  return new WllamaEngine(wllama, character, threads, said);
}

class WllamaEngine implements Engine {
  readonly kind = "wllama";
  readonly context: number;
  /** What llama.cpp has room for. */
  private readonly full: number;

  constructor(
    private readonly wllama: Wllama,
    private readonly character: Character,
    readonly threads: number,
    private readonly said: string[],
  ) {
    this.full = wllama.getLoadedContextInfo().n_ctx;
    this.context = Math.min(character.context, this.full);
  }

  async greedy({ prompt, promptIds }: SelfTest, count: number): Promise<readonly number[]> {
    const ids: number[] = [];
    let stopped = false;
    const last = await this.complete(prompt, { n_predict: count, temperature: 0, n_probs: 1 }, (piece) => {
      for (const { id } of piece.logprobs?.content ?? []) ids.push(id);
      stopped ||= piece.finish_reason === "stop";
    });
    const read = last?.usage?.prompt_tokens;
    if (read !== undefined && read !== promptIds.length) throw new Error(`it reads ${read} tokens where ${promptIds.length} were expected`);
    return stopped && ids.length < count ? [...ids, SOME_STOP] : ids;
  }

  async count(prompt: string): Promise<number> {
    // llama.cpp only says how long a prompt is once it is too long, and that at once: so a known excess comes after it.
    const filler = this.character.bosToken ?? this.character.eosToken;
    if (filler !== null) {
      try {
        await this.complete(prompt + filler.repeat(this.full), { n_predict: 0 }, () => undefined);
      } catch (error) {
        const told = /\((\d+) tokens\)/.exec(error instanceof Error ? error.message : "");
        if (told) return Number(told[1]) - this.full;
        throw asRunFault(error, this.said);
      }
    }
    const last = await this.complete(prompt, { n_predict: 0 }, () => undefined);
    return last?.usage?.prompt_tokens ?? 0;
  }

  async generate(prompt: string, options: GenerateOptions): Promise<Reply> {
    const { parameters, signal } = options;
    const { stopIds } = this.character;
    const watch = stopIds.some((id) => !this.wllama.isTokenEOG(id));
    const reply = new Coming(options.onText);
    const own = new AbortController();
    const stop = (): void => own.abort();
    signal.addEventListener("abort", stop);
    let end: Reply["end"] = "length";
    const part = async (from: string, length: number, forbidden: boolean, tries: number): Promise<void> => {
      const probabilities = watch || forbidden;
      const last = await this.complete(
        from,
        {
          n_predict: length,
          seed: (options.seed + tries) >>> 0,
          samplers: SAMPLERS,
          temperature: parameters.temperature,
          top_k: parameters.top_k,
          top_p: parameters.top_p,
          min_p: parameters.min_p,
          min_keep: 0,
          repeat_penalty: parameters.repetition_penalty,
          repeat_last_n: this.full,
          ...(probabilities && { n_probs: 1 }),
          ...(forbidden ? { ignore_eos: true, logit_bias: stopIds.map((id) => [id, false]) } : { logit_bias: this.unweighed(parameters.repetition_penalty) }),
        },
        (piece) => {
          for (const { id } of piece.logprobs?.content ?? []) {
            if (watch && stopIds.includes(id)) {
              end = "stop";
              own.abort();
              return;
            }
          }
          if (piece.text) reply.add(piece.text);
          if (piece.finish_reason === "stop") end = "stop";
        },
        own.signal,
      );
      reply.tokens += last?.usage?.completion_tokens ?? 0;
    };
    /** On from what there is, again wherever a token makes no character: wllama cannot hand that over, and leaves off. */
    const go = async (length: number, forbidden: boolean): Promise<void> => {
      const least = reply.pieces;
      for (let left = length, tries = 0; left > 0; tries++) {
        try {
          return await part(prompt + reply.text, left, forbidden, tries);
        } catch (error) {
          if (own.signal.aborted || !this.said.some((line) => line.includes("invalid UTF-8"))) throw error;
          this.said.length = 0;
          if (parameters.temperature < 1e-5) return; // the likeliest token would be the same again
          left = length - (reply.pieces - least) - tries - 1;
        }
      }
    };
    try {
      const least = Math.min(parameters.min_new_tokens, parameters.max_new_tokens);
      if (least > 0) await go(least, true);
      if (parameters.max_new_tokens > least && !own.signal.aborted) await go(parameters.max_new_tokens - least, false);
    } catch (error) {
      if (!own.signal.aborted) throw asRunFault(error, this.said);
      if (signal.aborted) end = "stopped";
    } finally {
      signal.removeEventListener("abort", stop);
    }
    return reply.finish(end);
  }

  async close(): Promise<void> {
    await this.wllama.exit();
  }

  /**
   * What is added to stop tokens so that the repetition penalty leaves them as they are. They stand in every prompt, after
   * every turn; our other engines spare them, llama.cpp would make each reply harder to end. Exact where the model is as
   * sure of its end as it is on average.
   */
  private unweighed(penalty: number): [id: number, bias: number][] {
    const told = this.character.engines.wllama?.stopLogits ?? [];
    return penalty === 1 ? [] : told.map(([id, logit]) => [id, (logit > 0 ? logit * penalty : logit / penalty) - logit]);
  }

  private async complete(
    prompt: string,
    body: Record<string, unknown>,
    onPiece: (piece: Piece) => void,
    signal?: AbortSignal,
  ): Promise<Chunk | null> {
    let last: Chunk | null = null;
    const onData = (chunk: Chunk): void => {
      for (const piece of chunk.choices) onPiece(piece);
      last = chunk;
    };
    // llama.cpp's own names of the parameters go through as they are.
    const options = { prompt, stream: true, cache_prompt: true, abortSignal: signal, onData, stream_options: { include_usage: true }, ...body };
    await this.wllama.createCompletion(options as unknown as Parameters<Wllama["createCompletion"]>[0]);
    return last;
  }
}

/** The reply so far. */
class Coming {
  tokens = 0;
  text = "";
  pieces = 0;
  private first = 0;

  constructor(private readonly onText: (whole: string) => void) {}

  add(text: string): void {
    if (this.pieces++ === 0) this.first = performance.now();
    this.text += text;
    this.onText(shown(this.text));
  }

  finish(end: Reply["end"]): Reply {
    const tokens = this.tokens || this.pieces;
    const seconds = (performance.now() - this.first) / 1000;
    return { text: shown(this.text), end, tokens, speed: this.pieces > 1 && seconds > 0 ? (this.pieces - 1) / seconds : null };
  }
}

/** A logger that keeps the last lines instead of writing them to the console. */
function quiet(said: string[]): Record<"debug" | "log" | "warn" | "error", (...words: unknown[]) => void> {
  const keep = (...words: unknown[]): void => {
    said.push(words.map(String).join(" ").trim().slice(0, 300));
    if (said.length > 6) said.shift();
  };
  return { debug: () => undefined, log: () => undefined, warn: keep, error: keep };
}

function asRunFault(error: unknown, said: readonly string[]): PageFault {
  const text = [error instanceof Error ? error.message : String(error), ...said].join("; ");
  if (/memory|out of bounds|unreachable/i.test(text)) {
    return new PageFault("This device ran out of memory for the character.", "Close other tabs, then load the page again.", `wllama: ${text}`);
  }
  return new PageFault("The character stopped in the middle.", "Try again; if it stays, load the page again.", `wllama: ${text}`);
}
