/** What a chat that is shown is told, and by whom. */

import { getEventListeners } from "node:events";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { browserClock } from "../src/browser.js";
import { sleep } from "../src/environment.js";
import { memoryOutbox, type Client } from "../src/index.js";
import { CHAT, FakeGateway, problem } from "./fake.js";

let gateway: FakeGateway;
let client: Client;

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
    await vi.advanceTimersByTimeAsync(1_000);
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
});

describe("a sleep", () => {
  it("ends with its time or its signal, and leaves nothing at either", async () => {
    const { signal } = new AbortController();
    const slept = sleep(browserClock, 1_000, signal);
    await vi.advanceTimersByTimeAsync(1_000);
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
