/** What a chat that is shown is told, and by whom. */

import { getEventListeners } from "node:events";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { browserClock } from "../src/browser.js";
import { sleep } from "../src/environment.js";
import { memoryOutbox, type Client } from "../src/index.js";
import { CHAT, FakeGateway, problem } from "./fake.js";

let gateway: FakeGateway;
let client: Client;

const seconds = (count: number): Promise<unknown> => vi.advanceTimersByTimeAsync(count * 1_000);

beforeEach(() => {
  vi.useFakeTimers();
  gateway = new FakeGateway();
  client = gateway.client({ storage: memoryOutbox() });
});
afterEach(() => {
  client.dispose();
  vi.useRealTimers();
});

describe("a chat", () => {
  it("is told nothing of another one", async () => {
    const [onError, onStateUpdate] = [vi.fn(), vi.fn()];
    const other = client.open("another", { enabled: false, onError, onStateUpdate });
    gateway.override = ({ body }) =>
      body["content"] === "bad" ? problem(422, "invalid-body", "Empty.") : undefined;
    await client.outbox.add(CHAT, "bad");
    await client.service.rename(CHAT, { title: "T" });
    await seconds(1);
    expect(client.outbox.pending(CHAT)).toMatchObject([{ status: "failed" }]);
    expect(other.state.context).toBeNull();
    expect(onError).not.toHaveBeenCalled();
    expect(onStateUpdate).not.toHaveBeenCalled();
  });

  it("tells those who have subscribed twice so often, and nobody who has ended it", async () => {
    const sync = client.open(CHAT, { enabled: false });
    await client.service.rename(CHAT, { title: "0" });
    const told = vi.fn();
    const end = sync.subscribe(told);
    sync.subscribe(told);
    await client.service.rename(CHAT, { title: "1" });
    expect(told).toHaveBeenCalledTimes(2);
    end();
    await client.service.rename(CHAT, { title: "2" });
    expect(told).toHaveBeenCalledTimes(3);
    sync.dispose();
    await client.service.rename(CHAT, { title: "3" });
    expect(told).toHaveBeenCalledTimes(3);
  });

  it("is the same object where the same is read once more", async () => {
    const sync = client.open(CHAT);
    await seconds(1);
    const before = sync.state;
    await client.service.getChatState(CHAT);
    expect(sync.state).toBe(before);
  });
});

describe("a callback that throws", () => {
  it("ends neither what is followed nor what is sent, and is heard of", async () => {
    const thrown = new Set<string>();
    const { queueMicrotask } = globalThis;
    vi.stubGlobal("queueMicrotask", (work: () => void) => {
      queueMicrotask(() => {
        try {
          work();
        } catch (error) {
          thrown.add(String(error));
        }
      });
    });
    const broken = (): never => {
      throw new Error("of the page");
    };
    const sync = client.open(CHAT, { onStateUpdate: broken, onError: broken });
    sync.subscribe(broken);
    client.outbox.subscribe(broken);
    client.outbox.onError(broken);
    const other = client.open(CHAT);
    await seconds(1);
    gateway.override = ({ body }) =>
      body["content"] === "bad" ? problem(422, "invalid-body", "Empty.") : undefined;
    const id = await sync.send("bad");
    await sync.send("good");
    gateway.online(false);
    await seconds(10);
    gateway.online(true);
    gateway.commit("context-renamed", { title: "Later" }, { title: "Later" });
    await seconds(10);
    expect(gateway.view.messages.map(({ content }) => content)).toEqual(["good"]);
    expect(client.outbox.pending(CHAT)).toMatchObject([{ id, status: "failed" }]);
    expect(other.state).toMatchObject({ connection: "live", context: gateway.view });
    client.dispose();
    await seconds(0);
    vi.unstubAllGlobals();
    expect([...thrown]).toEqual(["Error: of the page"]);
  });
});

describe("a sleep", () => {
  it("ends with its time or its signal, and leaves nothing at either", async () => {
    const { signal } = new AbortController();
    const slept = sleep(browserClock, 1_000, signal);
    await seconds(1);
    await slept;
    expect(getEventListeners(signal, "abort")).toEqual([]);

    const ended = new AbortController();
    const ending = sleep(browserClock, 1_000, ended.signal);
    ended.abort();
    await ending;
    await sleep(browserClock, 1_000, ended.signal);
    expect(vi.getTimerCount()).toBe(0);
  });
});
