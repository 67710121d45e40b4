/** The examples of docs/javascript.md print what the page says. */

import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { startContextd, type Contextd } from "./contextd.js";

const PAGE = readFileSync(join(import.meta.dirname, "../../../../docs/javascript.md"), "utf8");
const EXAMPLES = [...PAGE.matchAll(/```ts\n(.*?)```\n\n```text\n(.*?)```/gs)].map(
  ([, code = "", printed = ""]) => ({ code, printed }),
);
/** What a page around the examples would have. */
const AROUND = `
let done;
const finished = new Promise((resolve) => (done = resolve));
async function settled(isSo) {
  for (let tries = 0; tries < 200 && !isSo(); tries += 1) await new Promise((r) => setTimeout(r, 50));
}
`;

let server: Contextd;
beforeAll(async () => {
  server = await startContextd();
});
afterAll(async () => {
  await server.stop();
});

describe("docs/javascript.md", () => {
  it("has its examples here", () => {
    expect(EXAMPLES).toHaveLength(PAGE.split("```ts\n").length - 1);
  });

  it.each(EXAMPLES.map((example, at) => ({ ...example, at })))(
    "example $at prints what it says",
    async ({ code, printed, at }) => {
      const file = join(import.meta.dirname, `.example-${at}.mjs`);
      const around = `const key = ${JSON.stringify(server.key)};${AROUND}`;
      const [imports = "", ...rest] = code.split("\n\n");
      const body = rest.join("\n\n").replaceAll("http://127.0.0.1:8000", server.url);
      writeFileSync(file, `${imports}\n${around}\n${body}`);
      const lines: string[] = [];
      const log = vi.spyOn(console, "log").mockImplementation((...words) => {
        lines.push(words.join(" "));
      });
      try {
        await import(/* @vite-ignore */ file);
      } finally {
        log.mockRestore();
        rmSync(file);
      }
      expect(`${lines.join("\n")}\n`).toBe(printed);
    },
  );
});
