/** The service worker: the page without a network, and the headers that let it compute in several threads. */

declare const self: ServiceWorkerGlobalScope;
export {};

/** Both are filled in by build.mjs: the files of the page itself, and a name for this build of it. */
const SHELL = "__SHELL__" as unknown as readonly string[];
const VERSION = "__VERSION__";

const HERE = new URL("./", self.location.href);
const OWNER = `personatune-page ${HERE.pathname}`;
const CACHE = `${OWNER} ${VERSION}`;

self.addEventListener("install", (event) => {
  event.waitUntil(
    (async () => {
      const cache = await caches.open(CACHE);
      await cache.addAll(SHELL.map((path) => new Request(new URL(path, HERE), { cache: "no-cache" })));
      await self.skipWaiting();
    })(),
  );
});

self.addEventListener("activate", (event) => {
  event.waitUntil(
    (async () => {
      for (const name of await caches.keys()) if (name.startsWith(`${OWNER} `) && name !== CACHE) await caches.delete(name);
      await self.clients.claim();
    })(),
  );
});

self.addEventListener("fetch", (event) => {
  const url = new URL(event.request.url);
  if (event.request.method !== "GET" || url.origin !== HERE.origin || !url.pathname.startsWith(HERE.pathname)) return;
  const path = url.pathname.slice(HERE.pathname.length);
  // Models and WebAssembly are kept by the page, which checks them first.
  if (/\.(gguf|onnx|onnx_data|gz)(\.part\d+)?$/.test(path)) return;
  event.respondWith(respond(event.request, path));
});

async function respond(request: Request, path: string): Promise<Response> {
  const cache = await caches.open(CACHE);
  const key = new URL(path === "" ? "index.html" : path, HERE).href;
  if (path.startsWith("assets/")) {
    const kept = await cache.match(key); // their names change with what is in them
    if (kept) return isolated(kept);
  }
  try {
    const fresh = await fetch(request);
    if (fresh.ok && fresh.status === 200) await cache.put(key, fresh.clone());
    return isolated(fresh);
  } catch (error) {
    const kept = await cache.match(key);
    if (kept) return isolated(kept);
    throw error;
  }
}

/** The same response, for a page that shares nothing with other sites: then it may use threads. */
function isolated(response: Response): Response {
  if (response.status === 0 || response.type === "opaqueredirect") return response;
  const headers = new Headers(response.headers);
  headers.set("Cross-Origin-Opener-Policy", "same-origin");
  headers.set("Cross-Origin-Embedder-Policy", "require-corp");
  headers.set("Cross-Origin-Resource-Policy", "same-origin");
  const { status, statusText } = response;
  return new Response([101, 204, 205, 304].includes(status) ? null : response.body, { status, statusText, headers });
}
