/** The engine for this browser: in order, the first whose files are there and whose self-test passes. */

import type { Character, FileEntry, Page } from "../config";
import { fetchAll, type OnBytes, totalBytes } from "../download";
import { isAbort, PageFault } from "../faults";
import { type Candidate, type Engine, type Kind, KINDS, type OnStage, SOME_STOP } from "./engine";
import { transformersCandidate } from "./transformers";
import { wllamaCandidate } from "./wllama";

/** The engines that may run here, best first; only the one that `forced` names, when it names one. */
export async function candidates(page: Page, character: Character, forced: string | null): Promise<Candidate[]> {
  const wanted = forced !== null ? KINDS.filter((kind) => kind === forced) : KINDS;
  const found: Candidate[] = [];
  for (const kind of wanted) {
    if (kind === "transformers-webgpu" && !(await hasGraphics())) continue;
    const candidate = make(kind, character, page);
    if (candidate) found.push(candidate);
  }
  return found;
}

function make(kind: Kind, character: Character, page: Page): Candidate | null {
  if (kind === "wllama") return wllamaCandidate(character, page.engineFiles);
  return transformersCandidate(kind, character, page.engineFiles);
}

export interface Watching {
  readonly onStage: OnStage;
  readonly onBytes: OnBytes;
  /** Another engine is tried; its files come on top. */
  readonly onNext: (candidate: Candidate, why: string) => void;
  readonly signal: AbortSignal;
}

/** Fetch, start and test the candidates in turn until one is right; a wrong file ends it at once. */
export async function startFirst(list: readonly Candidate[], character: Character, watching: Watching): Promise<Engine> {
  const reasons: string[] = [];
  for (const [index, candidate] of list.entries()) {
    if (index > 0) watching.onNext(candidate, reasons.at(-1) ?? "");
    watching.onStage("fetching");
    const blobs = await fetchAll(candidate.files, watching.onBytes, watching.signal);
    let engine: Engine | null = null;
    try {
      watching.onStage("starting");
      engine = await candidate.start(candidate.files.map((file, at) => ({ file, blob: blobs[at] as Blob })));
      watching.onStage("testing");
      await selfTest(engine, character);
      return engine;
    } catch (error) {
      await engine?.close().catch(() => undefined);
      if (isAbort(error)) throw error;
      reasons.push(`${candidate.kind}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  throw new PageFault(
    list.length === 0 ? "This browser has nothing that this character can run in." : "The character does not run as it should in this browser.",
    "Try a current Chrome, Edge, Firefox or Safari, on a computer if you are on a phone.",
    reasons.join("; "),
  );
}

/** The bytes of all files of a candidate. */
export function sizeOf(candidate: Candidate): number {
  return totalBytes(candidate.files as readonly FileEntry[]);
}

/** Throws unless the engine takes just the tokens that the same file takes where it was exported. */
export async function selfTest(engine: Engine, character: Character): Promise<void> {
  const test = character.engines[engine.kind === "wllama" ? "wllama" : "transformers"]?.selfTest;
  if (!test) throw new Error("it has no self-test");
  const said = await engine.greedy(test, test.greedyIds.length);
  const same = (id: number, other: number | undefined): boolean => id === other || (other === SOME_STOP && character.stopIds.includes(id));
  if (!test.greedyIds.every((id, at) => same(id, said[at]))) {
    throw new Error(`the self-test failed: it said ${JSON.stringify(said)} instead of ${JSON.stringify(test.greedyIds)}`);
  }
}

/** Whether there is a graphics card that WebGPU may use. */
async function hasGraphics(): Promise<boolean> {
  const gpu = (navigator as { gpu?: { requestAdapter(): Promise<unknown> } }).gpu;
  try {
    return Boolean(await gpu?.requestAdapter());
  } catch {
    return false;
  }
}
