/** The examples of docs/javascript.md are TypeScript, and print what the page says. */

import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import ts from "typescript";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { startContextd, type Contextd } from "./contextd.js";

const CLIENT = join(import.meta.dirname, "../..");
const PAGE = readFileSync(join(CLIENT, "../../docs/javascript.md"), "utf8");
const EXAMPLES = [...PAGE.matchAll(/```ts\n(.*?)```\n\n```text\n(.*?)```/gs)].map(
  ([, code = "", printed = ""], at) => ({
    at,
    code,
    printed,
    file: join(import.meta.dirname, `.example-${at}.ts`),
  }),
);
const PRINTED_MS_MAX = 30_000;

let server: Contextd;
beforeAll(async () => {
  server = await startContextd();
  for (const { code, file } of EXAMPLES) {
    const program = code.replaceAll("http://127.0.0.1:8000", server.url);
    writeFileSync(file, `const key = ${JSON.stringify(server.key)};\n${program}`);
  }
});
afterAll(async () => {
  for (const { file } of EXAMPLES) rmSync(file);
  await server.stop();
});

describe("docs/javascript.md", () => {
  it("has its examples here", () => {
    expect(EXAMPLES).toHaveLength(PAGE.split("```ts\n").length - 1);
  });

  it("has examples that a strict compiler takes", () => {
    const path = join(CLIENT, "tsconfig.json");
    const { config } = ts.readConfigFile(path, (file) => readFileSync(file, "utf8")) as {
      config: unknown;
    };
    const { options } = ts.parseJsonConfigFileContent(config, ts.sys, CLIENT);
    const files = EXAMPLES.map(({ file }) => file);
    const mistakes = ts
      .getPreEmitDiagnostics(ts.createProgram(files, options))
      .map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, "\n"));
    expect(mistakes).toEqual([]);
  });

  it.each(EXAMPLES)("example $at prints what it says", async ({ file, printed }) => {
    const lines: string[] = [];
    const log = vi.spyOn(console, "log").mockImplementation((...words) => {
      lines.push(`${words.join(" ")}\n`);
    });
    try {
      await import(/* @vite-ignore */ file);
      await vi.waitFor(() => {
        expect(lines.join("")).toBe(printed);
      }, PRINTED_MS_MAX);
    } finally {
      log.mockRestore();
    }
  });
});
