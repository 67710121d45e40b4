/** The histories that `python -m tests.gateway.golden_views` has written. */

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { ContextView, Frame } from "../src/wire.js";

export interface Step {
  readonly frame: Frame;
  readonly before: ContextView;
  readonly after: ContextView;
}

const folder = join(import.meta.dirname, "golden");

export const HISTORIES: ReadonlyMap<string, readonly Step[]> = new Map(
  readdirSync(folder).map((file) => [file.replace(/\.jsonl$/, ""), stepsOf(file)]),
);

function stepsOf(file: string): Step[] {
  const lines = readFileSync(join(folder, file), "utf8").split("\n").filter(Boolean);
  const [first, ...rest] = lines.map((line) => JSON.parse(line) as unknown);
  let before = first as ContextView;
  return rest.map((line) => {
    const { frame, changed } = line as { frame: Frame; changed: Partial<ContextView> };
    const after = { ...before, ...changed };
    const step = { frame, before, after };
    before = after;
    return step;
  });
}
