import { describe, expect, it } from "vitest";
import type { Parameters } from "../src/config";
import { chance, nextToken } from "../src/sampling";

const OPEN: Parameters = { temperature: 1, top_p: 1, top_k: 0, min_p: 0, repetition_penalty: 1, max_new_tokens: 9, min_new_tokens: 0, seed: null };

/** How often each token comes, over many draws. */
function shares(logits: number[], change: Partial<Parameters>, more: { seen?: number[]; stopIds?: number[]; length?: number } = {}, draws = 20_000): number[] {
  const random = chance(7);
  const counts = logits.map(() => 0);
  for (let i = 0; i < draws; i++) {
    const token = nextToken(Float32Array.from(logits), { parameters: { ...OPEN, ...change }, random, seen: more.seen ?? [], stopIds: more.stopIds ?? [], length: more.length ?? 0 });
    counts[token]! += 1;
  }
  return counts.map((count) => count / draws);
}

/** The same by the plainest possible account of the laws. */
function law(logits: number[], p: Parameters): number[] {
  const scaled = logits.map((logit) => logit / p.temperature);
  let order = scaled.map((_, id) => id).sort((a, b) => scaled[b]! - scaled[a]! || a - b);
  if (p.top_k > 0) order = order.slice(0, p.top_k);
  const soft = (ids: number[]): Map<number, number> => {
    const weights = ids.map((id) => Math.exp(scaled[id]! - scaled[order[0]!]!));
    const sum = weights.reduce((a, b) => a + b, 0);
    return new Map(ids.map((id, at) => [id, weights[at]! / sum]));
  };
  let kept = soft(order);
  let sum = 0;
  order = order.filter((id) => {
    const before = sum;
    sum += kept.get(id)!;
    return p.top_p >= 1 || before < p.top_p;
  });
  kept = soft(order);
  order = order.filter((id) => kept.get(id)! >= p.min_p * kept.get(order[0]!)!);
  kept = soft(order);
  return logits.map((_, id) => kept.get(id) ?? 0);
}

describe("the next token", () => {
  const logits = [2, 1.5, 1, 0.2, -0.5, -1, -3, 1.45];

  for (const change of [
    {}, { temperature: 0.5 }, { temperature: 2 }, { top_k: 3 }, { top_p: 0.7 }, { min_p: 0.3 }, { top_k: 5, top_p: 0.8, min_p: 0.2, temperature: 0.7 }, { top_k: 1000 },
  ] satisfies Partial<Parameters>[]) {
    it(`is drawn by the laws with ${JSON.stringify(change)}`, () => {
      const wanted = law(logits, { ...OPEN, ...change });
      shares(logits, change).forEach((share, id) => expect(Math.abs(share - wanted[id]!)).toBeLessThan(0.015));
    });
  }

  it("is the likeliest at temperature 0, whatever else is asked", () => {
    expect(shares(logits, { temperature: 0, top_k: 4, min_p: 0.1 }, {}, 200)[0]).toBe(1);
  });

  it("is the same for the same seed", () => {
    const series = (seed: number): number[] => {
      const random = chance(seed);
      return Array.from({ length: 30 }, () => nextToken(Float32Array.from(logits), { parameters: OPEN, random, seen: [], stopIds: [], length: 0 }));
    };
    expect(series(5)).toEqual(series(5));
    expect(series(5)).not.toEqual(series(6));
  });

  it("bears the repetition penalty towards zero and below, but never on stop tokens", () => {
    const wanted = law([1, 1.5, 1, 0.2, -1, -1, -3, 1.45], OPEN);
    shares(logits, { repetition_penalty: 2 }, { seen: [0, 4, 4, 1], stopIds: [1] }).forEach((share, id) => expect(Math.abs(share - wanted[id]!)).toBeLessThan(0.015));
  });

  it("is no stop token before the least length", () => {
    expect(shares(logits, { temperature: 0, min_new_tokens: 3 }, { stopIds: [0, 1], length: 2 }, 50)[7]).toBe(1);
    expect(shares(logits, { temperature: 0, min_new_tokens: 3 }, { stopIds: [0, 7], length: 2 }, 50)[1]).toBe(1);
    expect(shares(logits, { temperature: 0, min_new_tokens: 3 }, { stopIds: [0, 7], length: 3 }, 50)[0]).toBe(1);
  });

  it("takes the likeliest K of a large vocabulary", () => {
    const random = chance(1);
    const large = Array.from({ length: 5000 }, () => random() * 10 - 5);
    const best = large.map((_, id) => id).sort((a, b) => large[b]! - large[a]!).slice(0, 40);
    const seen = shares(large, { top_k: 40, temperature: 5 }, {}, 4000).flatMap((share, id) => (share > 0 ? [id] : []));
    expect(seen.sort()).toEqual(best.sort());
  });
});
