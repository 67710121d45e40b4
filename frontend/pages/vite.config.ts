import { fileURLToPath } from "node:url";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";

import react from "@vitejs/plugin-react";
import { defineConfig, type Plugin } from "vite";

import { sourcesDigest } from "./scripts/sources.mjs";

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

/** Puts the digest of the sources and compressed copies of every file into the build. */
function sealed(): Plugin {
  return {
    name: "sealed",
    apply: "build",
    generateBundle: {
      order: "post",
      handler(_options, bundle): void {
        for (const file of Object.values(bundle)) {
          const content = Buffer.from(file.type === "chunk" ? file.code : file.source);
          const brotli = brotliCompressSync(content, {
            params: { [constants.BROTLI_PARAM_SIZE_HINT]: content.length },
          });
          this.emitFile({
            type: "asset",
            fileName: `${file.fileName}.gz`,
            source: gzipSync(content, { level: 9 }),
          });
          this.emitFile({ type: "asset", fileName: `${file.fileName}.br`, source: brotli });
        }
        const sources = `${JSON.stringify({ sha256: sourcesDigest() })}\n`;
        this.emitFile({ type: "asset", fileName: "sources.json", source: sources });
      },
    },
  };
}

export default defineConfig({
  plugins: [react(), sealed()],
  resolve: {
    alias: [
      { find: /^@contextd\/client\/react$/, replacement: here("../client/src/react/index.ts") },
      { find: /^@contextd\/client$/, replacement: here("../client/src/index.ts") },
    ],
  },
  build: {
    target: "es2022",
    outDir: process.env["PAGES_OUT"] ?? here("../../dashboard/static"),
    emptyOutDir: true,
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rollupOptions: { input: [here("index.html"), here("dashboard.html")] },
  },
  server: {
    proxy: Object.fromEntries(
      ["/api", "/v1", "/admin", "/healthz", "/readyz"].map((path) => [
        path,
        { target: process.env["CONTEXTD_URL"] ?? "http://127.0.0.1:8000", ws: true },
      ]),
    ),
  },
});
