import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

const source = (file: string): string => fileURLToPath(new URL(`src/${file}`, import.meta.url));

export default defineConfig({
  resolve: {
    alias: [
      { find: /^@contextd\/client$/, replacement: source("index.ts") },
      { find: /^@contextd\/client\/react$/, replacement: source("react/index.ts") },
    ],
  },
  test: {
    projects: [
      { extends: true, test: { name: "unit", include: ["tests/*.test.{ts,tsx}"], testTimeout: 5_000 } },
      {
        extends: true,
        test: {
          name: "server",
          include: ["tests/server/*.test.ts"],
          testTimeout: 120_000,
          hookTimeout: 60_000,
          fileParallelism: false,
        },
      },
      {
        extends: true,
        test: {
          name: "measure",
          include: ["tests/server/*.measure.ts"],
          hookTimeout: 60_000,
        },
      },
    ],
  },
});
