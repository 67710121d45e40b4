/** One chat while its state is read: what is shown then, and what is asked for. */

import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { ChatStateSync, Client, ContextView } from "../src/index.js";
import { FRAMES_HELD_MAX } from "../src/replica.js";
import { CHAT, EMPTY, FakeGateway, json, problem } from "./fake.js";

const HELLO = "event: hello\ndata: {}\n\n";

let gateway: FakeGateway;
let client: Client;
let sync: ChatStateSync;
/** Answer the oldest request for the state that waits. */
let answer: (context: ContextView | null) => Promise<void>;

const seconds = (count: number): Promise<unknown> => vi.advanceTimersByTimeAsync(count * 1_000);
const reads = (): number => gateway.count("GET", "/state");
const hello = (stream: ReadableStreamDefaultController): void => {
  stream.enqueue(new TextEncoder().encode(HELLO));
};
const streams = (): number => gateway.count("GET", "/events");

beforeEach(async () => {
  vi.useFakeTimers();
  gateway = new FakeGateway();
  client = gateway.client();
  sync = client.open(CHAT);
  await seconds(1);
  const waiting: ((response: Response) => void)[] = [];
  gateway.override = ({ path }, signal) => {
    if (!path.endsWith("/state")) return undefined;
    return new Promise((resolve, reject) => {
      waiting.push(resolve);
      signal.addEventListener("abort", () => {
        reject(signal.reason as Error);
      });
    });
  };
  answer = async (context) => {
    await seconds(0);
    const body = context && { context, status: context.status, version: context.version };
    waiting.shift()?.(body === null ? json(400, {}) : json(200, { ...body, action: null }));
    await seconds(0);
  };
});
afterEach(() => {
  client.dispose();
  vi.useRealTimers();
});

describe("a state that is read", () => {
  it("is read once, however many ask for it at once", async () => {
    const both = Promise.all([sync.refresh(), sync.refresh()]);
    await answer(gateway.view);
    await both;
    expect(reads()).toBe(1);
    const again = sync.refresh();
    await answer(gateway.view);
    await again;
    expect(reads()).toBe(2);
  });

  it("is known to be the newest, and read without trouble, where it is the same as before", async () => {
    sync.dispose();
    const shown = client.open(CHAT, { enabled: false });
    const failing = shown.refresh().catch(() => undefined);
    await answer(null);
    await failing;
    expect(shown.state).toMatchObject({ isStale: true, isGone: false, context: gateway.view });
    expect(shown.state.error).not.toBeNull();
    gateway.override = () => undefined;
    await shown.refresh();
    expect(gateway.asked.at(-1)?.headers.get("If-None-Match")).toBe(`"${gateway.view.cursor}"`);
    expect(shown.state).toMatchObject({ isStale: false, error: null });
  });

  it("is read again for a frame that the one on its way may not know of", async () => {
    const old = gateway.view;
    void sync.refresh();
    gateway.change({ title: "Newer" });
    await seconds(0);
    await answer(old);
    expect(sync.state.isStale).toBe(true);
    expect(reads()).toBe(2);
    await answer(gateway.view);
    expect(sync.state).toMatchObject({ context: gateway.view, isStale: false });
    expect(streams()).toBe(1);
  });

  it("is not read again for a frame that the one on its way has seen", async () => {
    void sync.refresh();
    gateway.change({ title: "Seen" });
    await seconds(0);
    await answer(gateway.view);
    expect(sync.state).toMatchObject({ context: gateway.view, isStale: false });
    expect([reads(), streams()]).toEqual([1, 1]);
  });

  it("is read again for a frame where the one on its way is not had", async () => {
    sync.refresh().catch(() => undefined);
    gateway.change({ title: "Newer" });
    await seconds(0);
    await answer(null);
    expect(reads()).toBe(2);
    await answer(gateway.view);
    expect(sync.state).toMatchObject({ context: gateway.view, isStale: false });
    expect(streams()).toBe(1);
  });

  it("is asked for no more once nobody follows the chat, whatever waits for it", async () => {
    sync.refresh().catch(() => undefined);
    gateway.change({ title: "Newer" });
    await seconds(0);
    sync.dispose();
    await seconds(10);
    expect(reads()).toBe(1);
  });

  it("leaves frames waiting where it is still the one before them", async () => {
    let asked = 0;
    gateway.override = ({ path }) => {
      if (!path.endsWith("/state")) return undefined;
      asked += 1;
      return asked > 50 ? undefined : new Response(null, { status: 304 });
    };
    gateway.change({ title: "Newer" });
    const shown: boolean[] = [];
    sync.subscribe(() => shown.push(sync.state.isStale));
    for (let turns = 0; turns < 50; turns += 1) await seconds(0);
    expect(shown).not.toContain(false);
    expect(asked).toBe(1);
    gateway.override = () => undefined;
    await seconds(2);
    expect(sync.state).toMatchObject({ context: gateway.view, isStale: false });
  });

  it("stays stale while frames wait, whatever becomes of the stream", async () => {
    const shown: boolean[] = [];
    gateway.change({ title: "Newer" });
    await seconds(0);
    sync.subscribe(() => shown.push(sync.state.isStale));
    gateway.online(false);
    gateway.online(true);
    await seconds(1);
    expect([streams(), reads(), sync.state.connection]).toEqual([2, 1, "live"]);
    expect(shown).not.toContain(false);
    await answer(gateway.view);
    expect(sync.state).toMatchObject({ context: gateway.view, isStale: false });
  });

  it("is not missed that fails once nobody follows the chat", async () => {
    const onError = vi.fn();
    const shown = client.open(CHAT, { enabled: false, onError });
    let cut = (): void => undefined;
    gateway.override = () =>
      new Promise((_, reject) => {
        cut = () => {
          reject(new TypeError("cut"));
        };
      });
    const read = sync.refresh().catch((error: unknown) => error);
    await seconds(0);
    sync.dispose();
    cut();
    expect(await read).toMatchObject({ name: "AbortError" });
    expect(shown.state.error).toBeNull();
    expect(onError).not.toHaveBeenCalled();
  });
});

describe("a chat", () => {
  it("is stale until there is a state of it, though a stream is open", async () => {
    client.dispose();
    gateway.override = ({ path }) =>
      path.endsWith("/events") ? new Response(new ReadableStream({ start: hello })) : undefined;
    client = gateway.client();
    sync = client.open(CHAT);
    await seconds(1);
    expect(sync.state).toMatchObject({ connection: "live", context: null, isStale: true });
  });

  it("is gone once, whoever finds that out and however often", async () => {
    const onError = vi.fn();
    const shown = client.open(CHAT, { onError });
    gateway.override = () => problem(404, "not-found", "Context not found");
    for (let count = 0; count < 2; count += 1) {
      await expect(shown.refresh()).rejects.toMatchObject({ status: 404 });
    }
    await seconds(60);
    expect(shown.state).toMatchObject({
      ...{ connection: "stopped", transport: null, isGone: true, isStale: false },
      error: { status: 404 },
    });
    expect(onError).toHaveBeenCalledOnce();
    expect([reads(), streams()]).toEqual([2, 1]);
  });
});

describe("a chat that cannot be opened", () => {
  it("is asked for no more, and followed again where it is opened anew", async () => {
    client.dispose();
    const onError = vi.fn();
    gateway = new FakeGateway();
    gateway.override = () => problem(500, "unreadable", "The key is not here.");
    client = gateway.client();
    sync = client.open(CHAT, { onError });
    await seconds(600);
    expect([reads(), streams()]).toEqual([1, 1]);
    expect(sync.state).toMatchObject({
      ...{ connection: "stopped", context: null, isStale: true, isGone: false },
      error: { type: "unreadable", isUnreadable: true },
    });
    expect(onError).toHaveBeenCalledOnce();
    gateway.override = () => undefined;
    gateway.online(true);
    await seconds(60);
    expect([reads(), streams()]).toEqual([1, 1]);
    sync.dispose();
    sync = client.open(CHAT);
    await seconds(1);
    expect(sync.state).toMatchObject({ connection: "live", context: EMPTY, error: null });
  });

  it("shows what was read of it before, where that changes while it is followed", async () => {
    gateway.override = ({ path }) =>
      path.endsWith("/state") || path.endsWith("/events")
        ? problem(500, "unreadable", "The key is not here.")
        : undefined;
    gateway.online(false);
    gateway.online(true);
    await seconds(600);
    expect([reads(), streams()]).toEqual([1, 2]);
    expect(sync.state).toMatchObject({ connection: "stopped", context: EMPTY, isStale: true });
  });
});

describe("an error", () => {
  it("is told once, and again after another one", async () => {
    const onError = vi.fn();
    const shown = client.open(CHAT, { enabled: false, onError });
    for (const detail of ["Full.", "Full.", "Away.", "Full."]) {
      gateway.override = () => problem(400, "invalid-body", detail);
      await shown.refresh().catch(() => undefined);
      expect(shown.state.error?.message).toContain(detail);
    }
    expect(onError).toHaveBeenCalledTimes(3);
  });
});

describe("frames that wait", () => {
  it("are as many as they may be, and are forgotten with the stream beyond", async () => {
    for (let count = 0; count < FRAMES_HELD_MAX; count += 1) gateway.change({});
    await seconds(5);
    expect(streams()).toBe(1);
    const { cursor } = sync.state.context ?? gateway.view;
    const next = cursor.replace(/\d+\.\d+$/, `${(sync.state.context?.version ?? 0) + 1}.0`);
    const told = { id: next, event: "context-renamed", data: { at_ms: 0, title: "Next" } };
    gateway.override = ({ path }) =>
      path.endsWith("/events")
        ? new Response(
            `${HELLO}id: ${told.id}\nevent: ${told.event}\ndata: ${JSON.stringify(told.data)}\n\n`,
          )
        : new Promise(() => undefined);
    gateway.change({});
    await seconds(2);
    expect(sync.state.context?.title).toBe("Next");
  });
});
