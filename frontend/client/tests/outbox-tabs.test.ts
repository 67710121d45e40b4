/** Tabs that share an outbox say a message once, and wait for each other where they can. */

import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { memoryOutbox, type Client, type OutboxStorage } from "../src/index.js";
import { CHAT, FakeGateway, problem } from "./fake.js";

let gateway: FakeGateway;
const clients: Client[] = [];

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "Date"] });
  gateway = new FakeGateway();
});
afterEach(() => {
  for (const client of clients.splice(0)) client.dispose();
  vi.useRealTimers();
});

/** A tab over a storage. */
function tab(storage: OutboxStorage = memoryOutbox()): Client {
  const client = gateway.client({ storage });
  clients.push(client);
  return client;
}
const seconds = (count: number): Promise<unknown> => vi.advanceTimersByTimeAsync(count * 1_000);

describe("tabs that share an outbox", () => {
  it("says it once, though two tabs send it", async () => {
    const storage = memoryOutbox();
    gateway.online(false);
    const [one, two] = [tab(storage), tab(storage)];
    for (const content of ["a", "b", "c"]) await one.outbox.add(CHAT, content);
    two.outbox.flush();
    gateway.online(true);
    await seconds(5);
    expect(gateway.said()).toEqual(["a", "b", "c"]);
    expect(gateway.sends().length).toBeGreaterThanOrEqual(3);
  });

  it("lets one tab send at a time where there are locks", async () => {
    const storage = memoryOutbox();
    let held = Promise.resolve();
    let holders = 0;
    const locks = {
      request: (_name: string, _options: unknown, work: () => Promise<void>) => {
        held = held.then(async () => {
          holders += 1;
          expect(holders).toBe(1);
          await work();
          holders -= 1;
        });
        return held;
      },
    };
    gateway.online(false);
    const tabs = [0, 1, 2].map(() => gateway.client({ storage, locks }));
    clients.push(...tabs);
    await tabs[0]?.outbox.add(CHAT, "a");
    await tabs[1]?.outbox.add(CHAT, "b");
    gateway.online(true);
    await seconds(60);
    expect(gateway.said()).toEqual(["a", "b"]);
    expect(gateway.sends().filter(({ body }) => body["content"] === "a").length).toBeLessThan(
      5,
    );
  });

  it("sends without the lock where the tab that has it does nothing", async () => {
    const locks = {
      request: (_name: string, { signal }: { signal: AbortSignal }) =>
        new Promise<void>((_, reject) => {
          signal.addEventListener("abort", () => {
            reject(signal.reason as Error);
          });
        }),
    };
    const client = gateway.client({ storage: memoryOutbox(), locks });
    clients.push(client);
    await client.outbox.add(CHAT, "one");
    await client.outbox.add(CHAT, "two");
    await seconds(9);
    expect(gateway.said()).toEqual([]);
    await seconds(2);
    expect(gateway.said()).toEqual(["one", "two"]);
    await client.outbox.add(CHAT, "never");
    client.dispose();
    await seconds(20);
    expect(gateway.said()).toEqual(["one", "two"]);
    expect(vi.getTimerCount()).toBe(0);
  });

  it("asks for no lock where nothing waits", async () => {
    gateway.override = () => problem(422, "invalid-body", "Empty.");
    const request = vi.fn((_name: string, _options: unknown, work: () => Promise<void>) =>
      work(),
    );
    const client = gateway.client({ storage: memoryOutbox(), locks: { request } });
    clients.push(client);
    await client.outbox.add(CHAT, "bad");
    await seconds(1);
    client.outbox.flush();
    await seconds(1);
    expect(request).toHaveBeenCalledOnce();
  });

  it("shows what another tab has written, and sends it", async () => {
    const storage = memoryOutbox();
    const listeners = new Set<() => void>();
    const shared = {
      ...storage,
      subscribe: (listener: () => void) => {
        listeners.add(listener);
        return () => listeners.delete(listener);
      },
    };
    const [one, two] = [tab(shared), tab(shared)];
    await seconds(0);
    one.dispose(); // it can send no more
    await one.outbox.add(CHAT, "handed over");
    await seconds(60);
    expect(gateway.sends()).toEqual([]);
    expect(listeners.size).toBe(1);
    for (const listener of listeners) listener();
    await seconds(0);
    expect(gateway.said()).toEqual(["handed over"]);
    expect(two.outbox.pending(CHAT)).toEqual([]);
  });

  it("sends what is written while a lock is being given back", async () => {
    const locks = {
      request: async (_name: string, _options: unknown, work: () => Promise<void>) => {
        await work();
        await new Promise((resolve) => setTimeout(resolve, 100));
      },
    };
    const client = gateway.client({ storage: memoryOutbox(), locks });
    clients.push(client);
    await client.outbox.add(CHAT, "one");
    await seconds(0.05);
    await client.outbox.add(CHAT, "two");
    await seconds(1);
    expect(gateway.said()).toEqual(["one", "two"]);
  });

  it("send without a lock where there are none to be had, and not twice what fails", async () => {
    const refused = { request: () => Promise.reject(new Error("not in this frame")) };
    const client = gateway.client({ storage: memoryOutbox(), locks: refused });
    clients.push(client);
    await client.outbox.add(CHAT, "one");
    await seconds(0);
    expect(gateway.said()).toEqual(["one"]);
    expect(vi.getTimerCount()).toBe(0);

    const storage = memoryOutbox();
    const list = vi.fn(() => storage.list());
    const granted = {
      request: (_name: string, _options: unknown, work: () => Promise<void>) => {
        list.mockRejectedValueOnce(new Error("The storage has failed."));
        return work();
      },
    };
    const other = gateway.client({ storage: { ...storage, list }, locks: granted });
    clients.push(other);
    await other.outbox.add(CHAT, "two");
    await seconds(0);
    expect(gateway.said()).toEqual(["one"]);
  });

  it("hold a lock for as long as they need, and ask for none once they are disposed", async () => {
    const asked: AbortSignal[] = [];
    const held = {
      request: (_: string, { signal }: { signal: AbortSignal }, work: () => Promise<void>) => {
        asked.push(signal);
        return work();
      },
    };
    const waiting = {
      request: (_: string, { signal }: { signal: AbortSignal }) =>
        new Promise<void>((__, reject) => {
          asked.push(signal);
          signal.addEventListener("abort", () => {
            reject(signal.reason as Error);
          });
        }),
    };
    gateway.online(false);
    for (const locks of [held, waiting]) {
      const client = gateway.client({ storage: memoryOutbox(), locks });
      clients.push(client);
      await client.outbox.add(CHAT, "later");
      await seconds(locks === held ? 60 : 5);
      expect(asked.at(-1)?.aborted).toBe(false);
      client.dispose();
      expect(asked.at(-1)?.aborted).toBe(true);
      await seconds(0);
      expect(vi.getTimerCount()).toBe(0);
    }
  });
});
