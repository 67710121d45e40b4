/** The list of chats beyond its first page. */

import { Problem, Unreachable, type ChatPage, type ContextSummary } from "@contextd/client";
import { beforeEach, describe, expect, it, vi } from "vitest";

import { Listing, PACE_MS, PACE_MS_MAX } from "./listing.js";

const PAGE = 3;
let chats: ContextSummary[];
/** Of them, those that cannot be opened. */
let lost: ReadonlySet<string>;
let asked: (string | undefined)[];
let failure: Error | null;
let isHidden: boolean;

const chat = (id: number, title = ""): ContextSummary => ({
  ...{ id: `c${id.toString().padStart(4, "0")}`, title, status: "idle", pinned: false },
  ...{ version: 1, created_at: "", updated_at: "", cursor: null },
});

/** As the gateway answers: newest first, and where the next page begins. */
function page(after: string | undefined): Promise<ChatPage> {
  asked.push(after);
  if (failure !== null) return Promise.reject(failure);
  const behind = chats
    .filter(({ id }) => after === undefined || id < after)
    .sort((one, other) => (one.id < other.id ? 1 : -1));
  const shown = behind.slice(0, PAGE);
  const next = behind.length > PAGE ? (shown.at(-1)?.id ?? null) : null;
  const contexts = shown.filter(({ id }) => !lost.has(id));
  const unreadable = shown.map(({ id }) => id).filter((id) => lost.has(id));
  return Promise.resolve({ contexts, unreadable, next });
}

function listing(): Listing {
  const made = new Listing({
    page,
    after: (ms, call) => {
      const timer = setTimeout(call, ms);
      return () => {
        clearTimeout(timer);
      };
    },
    isHidden: () => isHidden,
  });
  made.start();
  return made;
}

const pass = (ms: number): Promise<unknown> => vi.advanceTimersByTimeAsync(ms);
const known = (made: Listing): readonly number[] =>
  (made.listed().contexts ?? []).map(({ id }) => Number(id.slice(1)));

beforeEach(() => {
  vi.useFakeTimers();
  chats = [1, 2, 3, 4, 5, 6, 7, 8].map((id) => chat(id));
  lost = new Set();
  asked = [];
  failure = null;
  isHidden = false;
  return () => {
    vi.useRealTimers();
  };
});

describe("the list", () => {
  it("is read to its end at first, then its first page and one older one at a time", async () => {
    const made = listing();
    await pass(0);
    expect([known(made), made.listed().isWhole]).toEqual([[8, 7, 6, 5, 4, 3, 2, 1], true]);
    expect(asked).toEqual([undefined, "c0006", "c0003"]);
    asked = [];
    await pass(2 * PACE_MS);
    expect(asked).toEqual([undefined, "c0006", undefined, "c0003"]);
  });

  it("asks for one page alone where there is no other, even a full one", async () => {
    chats = chats.slice(0, PAGE);
    const made = listing();
    await pass(PACE_MS);
    expect([known(made), made.listed().isWhole]).toEqual([[3, 2, 1], true]);
    expect(asked).toEqual([undefined, undefined]);
  });

  it("loses none when a new one comes, nor keeps one that was deleted", async () => {
    const made = listing();
    await pass(0);
    chats = [...chats.filter(({ id }) => id !== "c0007"), chat(9), chat(10)];
    made.refresh();
    await pass(0);
    expect(known(made)).toEqual([10, 9, 8, 6, 5, 4, 3, 2, 1]);
  });

  it("knows at once of an old one that has changed or is gone", async () => {
    const made = listing();
    await pass(0);
    chats = chats.map((one) => (one.id === "c0001" ? chat(1, "Renamed") : one));
    made.refresh("c0001");
    await pass(0);
    expect(made.listed().contexts?.at(-1)).toEqual(chat(1, "Renamed"));
    chats = chats.filter(({ id }) => id !== "c0002");
    made.refresh("c0002");
    await pass(0);
    expect(known(made)).toEqual([8, 7, 6, 5, 4, 3, 1]);
  });

  it("hears in time of old ones that somebody else has changed", async () => {
    const made = listing();
    await pass(0);
    chats = chats.filter(({ id }) => id !== "c0001").map((one) => ({ ...one, pinned: true }));
    await pass(2 * PACE_MS);
    expect(made.listed().contexts).toEqual(chats.toReversed());
  });

  it("has what cannot be opened in its place, until it is deleted or can be opened", async () => {
    lost = new Set(["c0008", "c0006", "c0005", "c0001"]);
    const made = listing();
    await pass(0);
    expect([known(made), made.listed().isWhole]).toEqual([[8, 7, 6, 5, 4, 3, 2, 1], true]);
    const told = made.listed().contexts;
    expect(told?.filter(({ status }) => status === "unreadable")).toEqual(
      [8, 6, 5, 1].map((id) => ({ id: chat(id).id, status: "unreadable" })),
    );
    await pass(3 * PACE_MS);
    expect(made.listed().contexts).toBe(told);
    chats = chats.filter(({ id }) => id !== "c0001");
    made.refresh("c0001");
    await pass(0);
    expect(known(made)).toEqual([8, 7, 6, 5, 4, 3, 2]);
    lost = new Set(["c0007"]);
    await pass(4 * PACE_MS);
    expect(made.listed().contexts).toEqual(
      chats
        .toReversed()
        .map((one) => (one.id === "c0007" ? { id: one.id, status: "unreadable" } : one)),
    );
  });

  it("is asked for less often while nothing changes, and not while nobody looks", async () => {
    chats = [];
    const made = listing();
    await pass(120_000);
    const many = asked.length;
    await pass(PACE_MS_MAX * 3);
    expect(asked.length).toBe(many + 3);
    isHidden = true;
    await pass(PACE_MS_MAX);
    const before = asked.length;
    await pass(120_000);
    made.refresh();
    expect(asked.length).toBe(before);
  });

  it("says in the gateway's words why there is none, and goes on", async () => {
    const refused = { type: "/problems/forbidden", title: "Forbidden", status: 403 };
    failure = new Problem({ ...refused, detail: "Not with this key.", request_id: "r" });
    const made = listing();
    await pass(0);
    expect(made.listed()).toMatchObject({ contexts: null, trouble: "Not with this key." });
    failure = new Unreachable("Nobody answers.");
    await pass(PACE_MS);
    expect(made.listed().trouble).toMatch(/does not answer. This is tried again/);
    failure = null;
    await pass(PACE_MS);
    expect([made.listed().trouble, known(made).length]).toEqual([null, 8]);
  });
});
