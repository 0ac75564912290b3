/** From logits to the next token, by the laws of personatune's local engine, in the same order. */

import type { Parameters } from "./config";

/** Below this temperature only the likeliest token has any probability. */
const GREEDY_BELOW = 1e-5;

/** A source of chance with a seed: mulberry32. */
export function chance(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

/** A seed nobody chose. */
export function anySeed(): number {
  return crypto.getRandomValues(new Uint32Array(1))[0] ?? 0;
}

export interface Draw {
  readonly parameters: Parameters;
  readonly random: () => number;
  /** Tokens of the prompt and of the reply so far. */
  readonly seen: Iterable<number>;
  readonly stopIds: readonly number[];
  /** How many tokens the reply has already. */
  readonly length: number;
}

/**
 * The next token. Forbidden tokens go first, then come the repetition penalty (never on stop tokens: earlier turns
 * would keep this one from ending), temperature, top_k, top_p and min_p. Changes `logits`.
 */
export function nextToken(logits: Float32Array, draw: Draw): number {
  const { temperature, top_k, top_p, min_p } = draw.parameters;
  adjust(logits, draw);
  const best = argmax(logits);
  if (temperature < GREEDY_BELOW) return best;
  const top = logits[best] as number;
  const kept = likeliest(logits, top_k, worthWhile(logits, top, temperature, min_p, top_k));
  const weights = kept.map((id) => Math.exp(((logits[id] as number) - top) / temperature));
  let mass = 0;
  if (top_k > 0) for (const weight of weights) mass += weight;
  else for (const logit of logits) mass += Math.exp((logit - top) / temperature);
  const count = cut(weights, mass, top_p, min_p);
  let total = 0;
  for (let i = 0; i < count; i++) total += weights[i] as number;
  let point = draw.random() * total;
  for (let i = 0; i < count; i++) {
    point -= weights[i] as number;
    if (point < 0) return kept[i] as number;
  }
  return kept[count - 1] as number;
}

function adjust(logits: Float32Array, draw: Draw): void {
  const penalty = draw.parameters.repetition_penalty;
  if (penalty !== 1) {
    const stops = new Set(draw.stopIds);
    for (const id of new Set(draw.seen)) {
      const old = logits[id];
      if (old !== undefined && !stops.has(id)) logits[id] = old < 0 ? old * penalty : old / penalty;
    }
  }
  if (draw.length < draw.parameters.min_new_tokens) for (const id of draw.stopIds) if (id < logits.length) logits[id] = -Infinity;
}

function argmax(logits: Float32Array): number {
  let best = 0;
  for (let i = 1; i < logits.length; i++) if ((logits[i] as number) > (logits[best] as number)) best = i;
  return best;
}

/** The lowest logit that can still matter: by min_p where it alone limits, else whatever a double can tell from nothing. */
function worthWhile(logits: Float32Array, top: number, temperature: number, minP: number, topK: number): number {
  if (topK > 0) return topK >= logits.length ? -Infinity : threshold(logits, topK);
  return top + temperature * (minP > 0 ? Math.log(minP) - 1e-6 : -40);
}

/** The logit of the K-th likeliest token, by a heap of the K best. */
function threshold(logits: Float32Array, k: number): number {
  const heap = logits.slice(0, k).sort();
  for (let i = k; i < logits.length; i++) {
    const value = logits[i] as number;
    if (value <= (heap[0] as number)) continue;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= k) break;
      if (child + 1 < k && (heap[child + 1] as number) < (heap[child] as number)) child++;
      if ((heap[child] as number) >= value) break;
      heap[at] = heap[child] as number;
      at = child;
    }
    heap[at] = value;
  }
  return heap[0] as number;
}

/** Token numbers at or over `least`, likeliest first, at most `topK` of them unless it is 0. */
function likeliest(logits: Float32Array, topK: number, least: number): number[] {
  const ids: number[] = [];
  for (let i = 0; i < logits.length; i++) if ((logits[i] as number) >= least) ids.push(i);
  ids.sort((a, b) => (logits[b] as number) - (logits[a] as number) || a - b);
  return topK > 0 ? ids.slice(0, topK) : ids;
}

/** How many of `weights`, likeliest first, top_p and min_p leave. */
function cut(weights: readonly number[], mass: number, topP: number, minP: number): number {
  let count = weights.length;
  if (topP < 1) {
    let sum = 0;
    for (let i = 0; i < weights.length; i++) {
      sum += weights[i] as number;
      if (sum / mass >= topP) {
        count = i + 1; // the token that crosses top_p is kept
        break;
      }
    }
  }
  if (minP > 0) while (count > 1 && (weights[count - 1] as number) < minP * (weights[0] as number)) count--;
  return count;
}
