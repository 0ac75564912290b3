/** What an engine is to the page, whatever computes in it. */

import type { Character, EngineFiles, FileEntry, Parameters, SelfTest } from "../config";

export const KINDS = ["transformers-webgpu", "wllama", "transformers-wasm"] as const;
export type Kind = (typeof KINDS)[number];

/** Which part of starting is under way. */
export type Stage = "fetching" | "starting" | "testing";
export type OnStage = (stage: Stage) => void;

export interface Fetched {
  readonly file: FileEntry;
  readonly blob: Blob;
}

/** A stop token, from an engine that does not say which. */
export const SOME_STOP = -1;

export interface GenerateOptions {
  readonly parameters: Parameters;
  /** Of this reply; the same one gives the same reply. */
  readonly seed: number;
  readonly onText: (whole: string) => void;
  readonly signal: AbortSignal;
}

export interface Reply {
  readonly text: string;
  /** `stopped`: by the visitor. */
  readonly end: "stop" | "length" | "stopped";
  readonly tokens: number;
  /** Tokens a second, once the first was there. */
  readonly speed: number | null;
}

export interface Engine {
  readonly kind: Kind;
  /** Threads that compute; 0: the graphics card. */
  readonly threads: number;
  /** The most tokens that prompt and reply may have together. */
  readonly context: number;
  /** The first tokens that the model takes after the prompt of `test` when it always takes the likeliest. */
  greedy(test: SelfTest, count: number): Promise<readonly number[]>;
  /** How many tokens `prompt` takes. */
  count(prompt: string): Promise<number>;
  generate(prompt: string, options: GenerateOptions): Promise<Reply>;
  close(): Promise<void>;
}

/** An engine that could be started: what it is, what it needs, and how. */
export interface Candidate {
  readonly kind: Kind;
  readonly files: readonly FileEntry[];
  start(fetched: readonly Fetched[]): Promise<Engine>;
}

export type MakeCandidate = (character: Character, runtimes: EngineFiles) => Candidate | null;

/** Threads to compute with: one core stays free for the page; 1 where the host does not isolate it. */
export function threadsHere(): number {
  if (!globalThis.crossOriginIsolated) return 1;
  const asked = Number(new URLSearchParams(location.search).get("threads"));
  if (Number.isInteger(asked) && asked >= 1 && asked <= 8) return asked;
  return Math.min(8, Math.max(1, (navigator.hardwareConcurrency || 1) - 1));
}
