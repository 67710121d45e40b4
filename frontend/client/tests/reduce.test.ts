import { describe, expect, it } from "vitest";
import { reduce } from "../src/reduce.js";
import { behind, codePoints, upTo } from "../src/text.js";
import type { ContextView, Frame, MessageView } from "../src/wire.js";
import { HISTORIES, type Step } from "./golden.js";

/** What the view alone does not tell: tools, other lines of the tree, time, defaults. */
const READ = new Set([
  ...["answer-given", "approval-given", "tool-failed", "tool-restarted", "tool-returned"],
  ...["branch-merged", "branch-switched", "message-edited", "regenerate-requested"],
  ...["messages-recorded", "turn-requested"],
  ...["context-configured", "time-passed", "work-abandoned"],
]);
/**
 * Cursors, without their epochs, of what else has to be read, by history: replies with calls,
 * ends of turns while messages wait, and turns, retries and takeovers with more to them.
 */
const READ_TOO: Readonly<Record<string, readonly string[]>> = {
  "abandoned-work": ["5.0", "6.0"],
  appointments: ["21.2", "22.2", "23.2", "24.0", "25.0", "27.0", "28.0", "29.0"],
  asked: ["3.0"],
  attached: ["6.0", "8.0"],
  branches: ["11.0", "15.0", "24.0"],
  "cancel-with-partial": ["6.0"],
  "configured-by-messages": ["2.0", "4.0", "11.0"],
  "cutting-in": ["16.0", "17.0", "25.0", "26.0", "29.0", "30.0"],
  denial: ["3.0", "5.0"],
  "empty-branch": ["6.0"],
  "failure-retry-reset": ["5.0", "7.0"],
  "given-up": ["11.0", "12.0", "14.0"],
  limits: ["3.0", "5.0", "8.0", "10.0"],
  "pause-resume": ["3.0", "8.0", "12.0", "13.0", "17.0"],
  policies: ["7.0", "9.0", "10.0", "19.0"],
  questions: ["3.0", "6.0", "10.0"],
  queue: ["7.0", "10.0"],
  summarised: ["4.0"],
  takeover: ["6.0", "17.0", "18.0", "19.0", "23.0"],
  "tools-approved-and-edited": ["4.0", "8.0"],
  "tried-again": ["8.0", "14.0", "18.0", "19.0", "21.0", "25.0", "27.0", "40.0"],
};

const steps = [...HISTORIES.values()].flat();
const frameOf = (step: Step): string => JSON.stringify(step.frame);

const event = (name: string): Frame => ({ id: "", event: name, data: {} });

function isDefault(value: unknown): boolean {
  const isEmpty = typeof value === "object" && Object.keys(value ?? {}).length === 0;
  return isEmpty || value === "" || value === 0 || value === "stop";
}

describe("the view reducer", () => {
  it.each([...HISTORIES.keys()])(
    "folds %s as the gateway does, but for what is read",
    (name) => {
      for (const step of HISTORIES.get(name) ?? []) {
        const { frame, before, after } = step;
        const place = frame.id.slice(frame.id.indexOf(".") + 1);
        const isRead = READ.has(frame.event) || READ_TOO[name]?.includes(place) === true;
        expect(reduce(before, frame), frameOf(step)).toStrictEqual(isRead ? null : after);
      }
    },
  );

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
    const whole = { ...said, role: "assistant", status: "complete" } as const;
    const endingWith = (last: MessageView): ContextView => ({
      ...folded.before,
      messages: [...folded.before.messages, last],
    });
    expect(reduce(endingWith(whole), folded.frame)).not.toBeNull();
    expect(reduce(endingWith({ ...whole, status: "interrupted" }), folded.frame)).toBeNull();
  });

  it("does not fold over a gap, but for one in a reply that is shown whole at its end", () => {
    for (const history of HISTORIES.values()) {
      for (const [index, { frame, after }] of history.entries()) {
        const missed = history[index - 1];
        if (missed === undefined) continue;
        const isWhole = missed.frame.event === "reply-delta" && after.draft === null;
        const folded = reduce(missed.before, frame);
        if (isWhole && folded !== null) expect(folded, frame.id).toStrictEqual(after);
        else expect(folded, frame.id).toBeNull();
      }
    }
  });

  it("takes a field that an old event has not for what it is by default", () => {
    const required = ["content", "detail", "text", "title"];
    for (const { before, frame } of steps) {
      const told = Object.entries(frame.data).filter(
        ([key, value]) => required.includes(key) || !isDefault(value),
      );
      const old = { ...frame, data: Object.fromEntries(told) };
      expect(reduce(before, old), JSON.stringify(old)).toEqual(reduce(before, frame));
    }
  });

  it("does not fold what another epoch has seen", () => {
    for (const { before, frame } of steps) {
      const later = { ...frame, id: frame.id.replace(/^\d+/, "1863750000000") };
      if (frame.event !== "snapshot") expect(reduce(before, later)).toBeNull();
      const earlier = { ...frame, id: frame.id.replace(/^\d+/, "1663750000000") };
      expect(reduce(before, earlier)).toBe(before);
    }
  });

  it("takes a snapshot, or that of a reset, if it is newer, and none that is not", () => {
    const [{ before, after }] = HISTORIES.get("plain-turn") as [Step];
    const snapshot = (data: ContextView): Frame => ({
      ...event("snapshot"),
      data: { ...data },
    });
    const reset = (context: ContextView): Frame => ({
      ...event("reset"),
      data: { reason: "epoch", context },
    });
    for (const frameOf of [snapshot, reset]) {
      expect(reduce(before, frameOf(after))).toEqual(after);
      expect(reduce(after, frameOf(before))).toBe(after);
      expect(reduce(after, frameOf({ ...after }))).toBe(after);
    }
  });

  it("passes over what moves nothing", () => {
    const [{ before }] = HISTORIES.get("plain-turn") as [Step];
    expect(reduce(before, event("bye"))).toBe(before);
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

  it("does not take a piece behind a gap, or of another reply", () => {
    const half = reduce(view, delta(0, 3)) ?? view;
    expect(reduce(half, delta(4, 9))).toBeNull();
    expect(reduce({ ...view, draft: null }, delta(4, 9))).toBeNull();
    const other = delta(3, 9);
    expect(reduce(half, { ...other, data: { ...other.data, message_id: "m" } })).toBeNull();
  });
});
