import { describe, expect, it } from "vitest";
import { reduce } from "../src/reduce.js";
import { behind, codePoints, upTo } from "../src/text.js";
import type { ContextView, Frame } from "../src/wire.js";
import { HISTORIES, type Step } from "./golden.js";

/** What the view alone does not tell: tools, other lines of the tree, time, defaults. */
const READ = new Set([
  ...["answer-given", "approval-given", "tool-failed", "tool-restarted", "tool-returned"],
  ...["branch-merged", "branch-switched", "message-edited", "regenerate-requested"],
  ...["messages-recorded", "turn-requested"],
  ...["context-configured", "time-passed", "work-abandoned"],
]);
/** Told entirely by what is shown: nothing has to be read. */
const PLAIN = ["plain-turn", "retry-then-success", "emoji"];

const steps = [...HISTORIES.values()].flat();
const frameOf = (step: Step): string => JSON.stringify(step.frame);

describe("the view reducer", () => {
  it.each([...HISTORIES.keys()])(
    "folds %s as the gateway does, or says that it cannot",
    (name) => {
      for (const step of HISTORIES.get(name) ?? []) {
        const folded = reduce(step.before, step.frame);
        if (folded !== null) expect(folded, frameOf(step)).toEqual(step.after);
      }
    },
  );

  it.each(PLAIN)("folds all of %s", (name) => {
    for (const step of HISTORIES.get(name) ?? []) {
      expect(reduce(step.before, step.frame), frameOf(step)).toEqual(step.after);
    }
  });

  it("folds every kind of event but those that need more than the view", () => {
    const folded = steps.filter((step) => reduce(step.before, step.frame) !== null);
    const all = new Set(steps.map(({ frame }) => frame.event));
    const kinds = new Set(folded.map(({ frame }) => frame.event));
    expect([...all].filter((kind) => !kinds.has(kind)).sort()).toEqual([...READ].sort());
    expect(folded.length / steps.length).toBeGreaterThan(2 / 3);
  });

  it("leaves the view that it is given as it is", () => {
    for (const { before, frame } of steps) {
      const copy = structuredClone(before);
      reduce(before, frame);
      expect(before).toEqual(copy);
    }
  });

  it("passes over what it has seen", () => {
    for (const { after, frame } of steps) expect(reduce(after, frame)).toBe(after);
  });

  it("does not fold a retry behind an unfinished reply: whose it is, is not in the view", () => {
    const retries = steps.filter(({ frame }) => frame.event === "retry-requested");
    const folded = retries.find(({ before, frame }) => reduce(before, frame) !== null);
    if (folded === undefined) throw new Error("no retry is folded in the golden histories");
    const said = folded.before.messages.at(-1);
    if (said === undefined) throw new Error("nothing was said");
    const cut = { ...said, role: "assistant", status: "interrupted" } as const;
    const before = { ...folded.before, messages: [...folded.before.messages, cut] };
    expect(reduce(before, folded.frame)).toBeNull();
  });

  it("does not fold over a gap", () => {
    const [first, , third] = HISTORIES.get("plain-turn") ?? [];
    if (first === undefined || third === undefined) throw new Error("too short a history");
    expect(reduce(first.before, third.frame)).toBeNull();
  });

  it("does not fold what another epoch has seen", () => {
    for (const { before, frame } of steps) {
      const later = { ...frame, id: frame.id.replace(/^\d+/, "1863750000000") };
      if (frame.event !== "snapshot") expect(reduce(before, later)).toBeNull();
      const earlier = { ...frame, id: frame.id.replace(/^\d+/, "1663750000000") };
      expect(reduce(before, earlier)).toBe(before);
    }
  });

  it("takes a reset that is newer, and none that is older", () => {
    const [{ before, after }] = HISTORIES.get("plain-turn") as [Step];
    const reset = (context: ContextView): Frame => ({
      id: context.cursor,
      event: "reset",
      data: { reason: "epoch", context },
    });
    expect(reduce(before, reset(after))).toBe(after);
    expect(reduce(after, reset(before))).toBe(after);
  });
});

describe("a reply in pieces", () => {
  const text = "a\u0301\u{1F468}\u200D\u{1F469}\u{1F1E8}\u{1F1ED}\u{1F44B} end";
  const started = steps.find(({ frame }) => frame.event === "reply-started")?.after;
  if (started?.draft == null) throw new Error("no reply is started in the golden histories");
  const view: ContextView = started;
  const { message_id } = started.draft;
  const [epoch, version] = started.cursor.split(".");

  function delta(from: number, to: number): Frame {
    const piece = behind(upTo(text, to), from);
    const data = { message_id, n: to, text: piece };
    return { id: `${epoch ?? ""}.${version ?? ""}.${to}`, event: "reply-delta", data };
  }

  it("is whole again, wherever it was cut", () => {
    const end = codePoints(text);
    expect(end).toBe(Array.from(text).length);
    for (let cut = 1; cut < end; cut += 1) {
      const half = reduce(view, delta(0, cut)) ?? view;
      expect(half.draft).toMatchObject({
        n: cut,
        text: Array.from(text).slice(0, cut).join(""),
      });
      expect(reduce(half, delta(cut, end))?.draft).toMatchObject({ n: end, text });
    }
  });

  it("takes of an overlapping piece only what is new", () => {
    const half = reduce(view, delta(0, 5)) ?? view;
    expect(reduce(half, delta(2, 9))?.draft?.text).toBe(Array.from(text).slice(0, 9).join(""));
  });

  it("does not take a piece behind a gap", () => {
    const half = reduce(view, delta(0, 3)) ?? view;
    expect(reduce(half, delta(4, 9))).toBeNull();
  });
});
