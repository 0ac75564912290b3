/** Build the page into the Python package; with --compare, into a temporary folder, and say what differs. */

import { createHash } from "node:crypto";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { gunzipSync, gzipSync } from "node:zlib";
import { build } from "vite";

const here = fileURLToPath(new URL(".", import.meta.url));
const target = join(here, "../src/personatune/export/web_page");
const modules = join(here, "node_modules");
const compare = process.argv.includes("--compare");

/** The runtimes: where they are, what they are called in an export, and which engine fetches them. */
const ENGINES = [
  ["wllama", "@wllama/wllama/esm/wasm/wllama.wasm", "wllama.wasm.gz"],
  ["wllama-compat", "@wllama/wllama-compat/wasm/wllama.js", "wllama-compat.js.gz"],
  ["wllama-compat", "@wllama/wllama-compat/wasm/wllama.wasm", "wllama-compat.wasm.gz"],
  ["transformers-wasm", "onnxruntime-web/dist/ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.mjs"],
  ["transformers-wasm", "onnxruntime-web/dist/ort-wasm-simd-threaded.wasm", "ort-wasm-simd-threaded.wasm.gz"],
  ["transformers-webgpu", "onnxruntime-web/dist/ort-wasm-simd-threaded.asyncify.mjs", "ort-wasm-simd-threaded.asyncify.mjs"],
  ["transformers-webgpu", "onnxruntime-web/dist/ort-wasm-simd-threaded.asyncify.wasm", "ort-wasm-simd-threaded.asyncify.wasm.gz"],
];
/** Whose words travel with the page. */
const LICENCES = ["@huggingface/jinja", "@huggingface/transformers", "@wllama/wllama", "onnxruntime-web", "onnxruntime-common", "@fontsource-variable/figtree", "@fontsource-variable/fraunces"];

/** Every file below `folder`, by its path there, sorted. */
function filesIn(folder) {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)))
    .sort();
}

/** `bytes` packed as they were last time, where they are the same: other versions of Node pack them otherwise. */
function pack(bytes, before) {
  if (existsSync(before)) {
    const packed = readFileSync(before);
    if (gunzipSync(packed).equals(bytes)) return packed;
  }
  return gzipSync(bytes, { level: 9 });
}

function licences() {
  const parts = ["The page of this folder is made with these works of others. Their own words follow.\n"];
  for (const name of LICENCES) {
    const { version, license } = JSON.parse(readFileSync(join(modules, name, "package.json"), "utf8"));
    const file = readdirSync(join(modules, name)).find((one) => /^licen[cs]e/i.test(one));
    const text = file ? readFileSync(join(modules, name, file), "utf8").trim() : `Licensed under ${license}.`;
    parts.push(`${"=".repeat(80)}\n${name} ${version} (${license})\n\n${text}\n`);
  }
  return parts.join("\n").replace(/\r\n/g, "\n");
}

async function make(folder) {
  rmSync(folder, { recursive: true, force: true });
  await build({ root: here, logLevel: "warn", build: { outDir: folder, emptyOutDir: true } });
  // The bundler takes the graphics runtime along for a way of loading that the page never goes.
  for (const path of filesIn(join(folder, "assets"))) if (path.endsWith(".wasm")) rmSync(join(folder, "assets", path));
  mkdirSync(join(folder, "engines"), { recursive: true });
  const list = {};
  for (const [engine, from, name] of ENGINES) {
    const bytes = readFileSync(join(modules, from));
    const packed = name.endsWith(".gz") ? pack(bytes, join(target, "engines", name)) : bytes;
    writeFileSync(join(folder, "engines", name), packed);
    (list[engine] ??= []).push(`engines/${name}`);
  }
  writeFileSync(join(folder, "engines/engines.json"), `${JSON.stringify(list, null, 2)}\n`);
  mkdirSync(join(folder, "licences"));
  writeFileSync(join(folder, "licences/page.txt"), licences());
  // The service worker keeps the page itself, and must be another file whenever anything of it changes.
  const worker = join(folder, "sw.js");
  const shell = filesIn(folder).filter((path) => path === "index.html" || path.startsWith("assets/"));
  const hash = createHash("sha256");
  for (const path of shell) hash.update(path).update(readFileSync(join(folder, path)));
  const script = readFileSync(worker, "utf8");
  const mark = /["'`]__SHELL__["'`]/;
  if (!mark.test(script) || !script.includes("__VERSION__")) throw new Error("sw.js has lost its marks");
  writeFileSync(worker, script.replace(mark, JSON.stringify(shell)).replace("__VERSION__", hash.digest("hex").slice(0, 16)));
}

const folder = mkdtempSync(join(tmpdir(), "page-"));
try {
  await make(folder);
  if (compare) {
    const [old, fresh] = [filesIn(target), filesIn(folder)];
    const differ = [...new Set([...old, ...fresh])].filter(
      (path) => !old.includes(path) || !fresh.includes(path) || !readFileSync(join(target, path)).equals(readFileSync(join(folder, path))),
    );
    if (differ.length > 0) {
      console.error(`src/personatune/export/web_page is not what web/ builds: ${differ.join(", ")}\nrun: make web`);
      process.exitCode = 1;
    }
  } else {
    rmSync(target, { recursive: true, force: true });
    cpSync(folder, target, { recursive: true });
    const total = filesIn(target).reduce((sum, path) => sum + statSync(join(target, path)).size, 0);
    console.error(`src/personatune/export/web_page: ${(total / 1e6).toFixed(1)} MB`);
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
