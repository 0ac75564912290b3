import { defineConfig } from "vite";

export default defineConfig({
  base: "./",
  // Its own entry names sources of TypeScript.
  resolve: { alias: { "@wllama/wllama": new URL("node_modules/@wllama/wllama/esm/index.js", import.meta.url).pathname } },
  build: {
    target: "es2022",
    assetsDir: "assets",
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 2000,
    rollupOptions: {
      input: { index: "index.html", sw: "src/sw.ts" },
      output: { entryFileNames: (chunk) => (chunk.name === "sw" ? "sw.js" : "assets/[name]-[hash].js") },
    },
  },
  worker: { format: "es" },
});
