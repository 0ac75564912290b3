/** What the page and the worker of Transformers.js say to each other. */

import type { Parameters } from "../config";

export interface StartOrder {
  readonly device: "wasm" | "webgpu";
  readonly threads: number;
  readonly dtype: string;
  readonly stopIds: readonly number[];
  /** The runtime's own script, by its address; workers of it are started from there. */
  readonly script: string;
  readonly binary: ArrayBuffer;
  /** Files of the model by their path in its folder, unpacked. */
  readonly files: ReadonlyMap<string, Blob>;
}

export interface DrawOrder {
  readonly prompt: string;
  readonly parameters: Parameters;
  readonly seed: number;
}

export type Order =
  | { readonly id: number; readonly verb: "start"; readonly with: StartOrder }
  | { readonly id: number; readonly verb: "greedy"; readonly with: { readonly promptIds: readonly number[]; readonly count: number } }
  | { readonly id: number; readonly verb: "count"; readonly with: string }
  | { readonly id: number; readonly verb: "generate"; readonly with: DrawOrder }
  | { readonly id: number; readonly verb: "stop" };

export type Answer =
  | { readonly id: number; readonly kind: "text"; readonly value: string }
  | { readonly id: number; readonly kind: "done"; readonly value: unknown }
  | { readonly id: number; readonly kind: "failed"; readonly value: string };
