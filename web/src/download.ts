/** The files of a character and its engine: fetched once, checked, and kept by the browser. */

import type { FileEntry } from "./config";
import { PageFault } from "./faults";
import { Sha256 } from "./sha256";

export type OnBytes = (done: number) => void;

const HERE = new URL("./", location.href);
/** Pages of one host share the browser's caches, so the name says whose it is. */
const CACHE = `personatune-files ${HERE.pathname}`;

/** The sum of the bytes of `files`. */
export function totalBytes(files: readonly FileEntry[]): number {
  return files.reduce((sum, file) => sum + file.bytes, 0);
}

/** What is fetched for `files`: each as it is, or the parts that it was cut into. */
function fetched(files: readonly FileEntry[]): FileEntry[] {
  return files.flatMap((file) => (file.parts.length > 0 ? file.parts : [file]));
}

/** Those of `files`, or of their parts, that the browser does not keep yet. */
export async function missing(files: readonly FileEntry[]): Promise<FileEntry[]> {
  const all = fetched(files);
  const cache = await open();
  if (!cache) return all;
  const there = await Promise.all(all.map((file) => cache.match(keyOf(file))));
  return all.filter((_, index) => !there[index]);
}

/**
 * Every file as a blob, from the browser or from the host. `onBytes` hears how many bytes of all are there; a file
 * whose bytes or hash are not those of page.json is a `PageFault`, and is not kept.
 */
export async function fetchAll(files: readonly FileEntry[], onBytes: OnBytes, signal?: AbortSignal): Promise<Blob[]> {
  const blobs = await fetchParts(fetched(files), onBytes, signal);
  return files.map((file) => {
    const [first, ...others] = blobs.splice(0, Math.max(1, file.parts.length)) as [Blob, ...Blob[]];
    return others.length > 0 ? new Blob([first, ...others]) : first;
  });
}

async function fetchParts(files: readonly FileEntry[], onBytes: OnBytes, signal?: AbortSignal): Promise<Blob[]> {
  const cache = await open();
  const done = files.map(() => 0);
  const tell = (index: number, bytes: number): void => {
    done[index] = bytes;
    onBytes(done.reduce((a, b) => a + b, 0));
  };
  const blobs: Blob[] = [];
  for (const [index, file] of files.entries()) {
    const kept = await cache?.match(keyOf(file));
    let blob = await kept?.blob();
    if (!blob || blob.size !== file.bytes) {
      blob = await fetchOne(file, (bytes) => tell(index, bytes), signal);
      await keep(cache, file, blob);
    }
    tell(index, file.bytes);
    blobs.push(blob);
  }
  return blobs;
}

/** Remove what is kept and not among `files`: the files of an earlier export. */
export async function forgetOthers(files: readonly FileEntry[]): Promise<void> {
  const cache = await open();
  if (!cache) return;
  const wanted = new Set(fetched(files).map(keyOf));
  for (const request of await cache.keys()) if (!wanted.has(request.url)) await cache.delete(request);
}

/** Remove everything that is kept. */
export async function forgetAll(): Promise<void> {
  if ("caches" in globalThis) await caches.delete(CACHE);
}

/** What a file holds, unpacked when its name ends in .gz. */
export async function unpacked(path: string, blob: Blob, type = "application/octet-stream"): Promise<Blob> {
  if (!path.endsWith(".gz")) return new Blob([blob], { type });
  const stream = blob.stream().pipeThrough(new DecompressionStream("gzip"));
  return new Blob([await new Response(stream).arrayBuffer()], { type });
}

async function fetchOne(file: FileEntry, onBytes: OnBytes, signal?: AbortSignal): Promise<Blob> {
  let response: Response;
  try {
    response = await fetch(new URL(file.path, HERE), { cache: "no-cache", ...(signal && { signal }) });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new PageFault("The download stopped.", "Check the connection, then try again; what is already here stays here.", file.path);
  }
  if (!response.ok || !response.body) {
    throw new PageFault(
      `A file of this character is missing: ${nameOf(file)}.`,
      "Whoever made this page must upload the whole exported folder again.",
      `${file.path}: the host answered ${response.status}`,
    );
  }
  const parts: BlobPart[] = [];
  const hash = new Sha256();
  let bytes = 0;
  const reader = response.body.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      parts.push(value);
      bytes += value.length;
      if (file.sha256) hash.update(value);
      onBytes(Math.min(bytes, file.bytes));
    }
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new PageFault("The download stopped.", "Check the connection, then try again; what is already here stays here.", file.path);
  }
  if (bytes !== file.bytes) throw damaged(file, `it has ${bytes} bytes instead of ${file.bytes}`);
  if (file.sha256 && hash.hex() !== file.sha256) throw damaged(file, "its SHA-256 is another");
  return new Blob(parts);
}

function damaged(file: FileEntry, how: string): PageFault {
  return new PageFault(
    `A file of this character is not the one that was exported: ${nameOf(file)}.`,
    "Whoever made this page must export the character or upload the folder again.",
    `${file.path}: ${how}`,
  );
}

function nameOf(file: FileEntry): string {
  return file.path.split("/").at(-1) ?? file.path;
}

/** The hash belongs to the key, so that a new export is never mixed with an old one. */
function keyOf(file: FileEntry): string {
  const url = new URL(file.path, HERE);
  url.search = `?${file.sha256 ?? file.bytes}`;
  return url.href;
}

async function open(): Promise<Cache | null> {
  try {
    return "caches" in globalThis ? await caches.open(CACHE) : null;
  } catch {
    return null; // some private windows have none
  }
}

async function keep(cache: Cache | null, file: FileEntry, blob: Blob): Promise<void> {
  try {
    await cache?.put(keyOf(file), new Response(blob));
  } catch {
    // No room: the page works without, and fetches again next time.
  }
}
