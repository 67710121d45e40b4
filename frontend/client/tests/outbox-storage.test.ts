/** Where the outbox keeps messages: in memory, or in IndexedDB. */

import { forceCloseDatabase, IDBDatabase, IDBFactory } from "fake-indexeddb";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import {
  indexedDbOutbox,
  memoryOutbox,
  type OutboxEntry,
  type OutboxStorage,
} from "../src/index.js";
import { CHAT } from "./fake.js";

describe.each([
  ["in memory", () => memoryOutbox()],
  ["in IndexedDB", () => indexedDbOutbox({ indexedDB: new IDBFactory(), name: "outbox" })],
])("a storage %s", (_, make) => {
  const entry = (id: string): Omit<OutboxEntry, "position"> => ({
    id,
    chatId: CHAT,
    body: { content: id, client_message_id: id },
    idempotencyKey: `key of ${id}`,
    createdAtMs: 1,
    status: "waiting",
    reason: null,
  });

  it("has entries in the order in which they were added", async () => {
    const storage = make();
    await Promise.all(["c", "a", "b"].map((id) => storage.add(entry(id))));
    expect((await storage.list()).map(({ id }) => id)).toEqual(["c", "a", "b"]);
  });

  it("writes over what is there, and nothing else", async () => {
    const storage = make();
    const [one, two] = [await storage.add(entry("1")), await storage.add(entry("2"))];
    await storage.update({ ...one, status: "failed" });
    await storage.remove("2");
    await storage.update({ ...two, status: "failed" });
    await storage.remove("3");
    expect(await storage.list()).toEqual([{ ...one, status: "failed" }]);
  });

  it("takes no other entry under an id that is there", async () => {
    const storage = make();
    const one = await storage.add(entry("1"));
    await expect(storage.add({ ...entry("1"), body: { content: "other" } })).rejects.toThrow();
    expect(await storage.list()).toEqual([one]);
  });

  it("keeps places that are not given twice", async () => {
    const storage = make();
    const one = await storage.add(entry("1"));
    await storage.remove("1");
    const two = await storage.add(entry("2"));
    expect(two.position).toBeGreaterThan(one.position);
  });
});

it("a storage in IndexedDB is shared, and tells the other tabs", async () => {
  const indexedDB = new IDBFactory();
  const listeners = new Set<() => void>();
  const channel = {
    postMessage: () => {
      for (const listener of listeners) listener();
    },
    addEventListener: (_: "message", listener: () => void) => listeners.add(listener),
    removeEventListener: (_: "message", listener: () => void) => listeners.delete(listener),
  };
  const [one, two] = [0, 1].map(() => indexedDbOutbox({ indexedDB, name: "o", channel }));
  const told = vi.fn();
  const end = two?.subscribe(told);
  const entry = { id: "1", chatId: CHAT, body: { content: "x" }, idempotencyKey: "k" };
  await one?.add({ ...entry, createdAtMs: 1, status: "waiting", reason: null });
  expect(await two?.list()).toHaveLength(1);
  expect(told).toHaveBeenCalledOnce(); // a read is no news: all tabs would read for ever
  end?.();
  expect(listeners.size).toBe(0);
});

describe("a storage in IndexedDB", () => {
  const kept: Omit<OutboxEntry, "position"> = {
    id: "1",
    chatId: CHAT,
    body: { content: "x" },
    idempotencyKey: "k",
    createdAtMs: 1,
    status: "waiting",
    reason: null,
  };
  let indexedDB: IDBFactory;
  let storage: OutboxStorage;

  beforeEach(() => {
    indexedDB = new IDBFactory();
    storage = indexedDbOutbox({ indexedDB, name: "o" });
  });
  afterEach(() => {
    vi.restoreAllMocks();
  });
  const settled = (request: IDBRequest): Promise<void> =>
    new Promise((resolve) => {
      request.onsuccess = request.onerror = () => {
        resolve();
      };
    });

  it("is opened once, and again after that has failed", async () => {
    const later = indexedDB.open("o", 2); // of a version to come
    await settled(later);
    later.result.close();
    await expect(storage.list()).rejects.toThrow();
    await settled(indexedDB.deleteDatabase("o"));
    const open = vi.spyOn(indexedDB, "open");
    await Promise.all([storage.add(kept), storage.list()]);
    expect(open).toHaveBeenCalledOnce();
  });

  it("does not keep anybody from deleting it, and is opened again", async () => {
    await storage.add(kept);
    await settled(indexedDB.deleteDatabase("o"));
    expect(await storage.list()).toEqual([]);
  });

  it("is opened again after the browser has closed it", async () => {
    const transaction = vi.spyOn(IDBDatabase.prototype, "transaction");
    await storage.add(kept);
    forceCloseDatabase(transaction.mock.contexts[0] as never);
    await new Promise((resolve) => setTimeout(resolve));
    expect(await storage.list()).toHaveLength(1);
  });

  it("has taken an entry once it is durable, and says where it is not", async () => {
    type Begin = (this: IDBDatabase, ...asked: unknown[]) => IDBTransaction;
    const begin = Reflect.get(IDBDatabase.prototype, "transaction") as Begin;
    const begun = vi.spyOn(IDBDatabase.prototype, "transaction");
    await storage.add(kept);
    expect(begun).toHaveBeenCalledWith("entries", "readwrite", { durability: "strict" });
    begun.mockImplementation(function (this: IDBDatabase, ...asked) {
      const made = begin.apply(this, asked);
      const store = made.objectStore("entries");
      const put = store.add.bind(store);
      store.add = (value) => {
        const request = put(value);
        request.addEventListener("success", () => {
          made.abort();
        });
        return request;
      };
      made.objectStore = () => store;
      return made;
    });
    await expect(storage.add({ ...kept, id: "2" })).rejects.toThrow();
    begun.mockRestore();
    expect(await storage.list()).toMatchObject([{ id: "1" }]);
  });
});
