/** What is to be said is kept, in order, and said once. */

import { forceCloseDatabase, IDBDatabase, IDBFactory } from "fake-indexeddb";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import {
  indexedDbOutbox,
  memoryOutbox,
  SendFailed,
  type Client,
  type OutboxEntry,
  type OutboxStorage,
} from "../src/index.js";
import { CHAT, FakeGateway, problem } from "./fake.js";
import { saidBy } from "./until.js";

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
const sends = () => gateway.asked.filter(({ path }) => path.endsWith("/send_message"));
const said = (): readonly string[] => gateway.view.messages.map(({ content }) => content);

describe("the outbox", () => {
  it("sends in order, one after the other, each under its key", async () => {
    const { outbox } = tab();
    await Promise.all(["one", "two", "three"].map((content) => outbox.add(CHAT, content)));
    await seconds(1);
    expect(said()).toEqual(["one", "two", "three"]);
    const keys = sends().map(({ headers }) => headers.get("Idempotency-Key"));
    expect(new Set(keys).size).toBe(3);
    expect(outbox.pending(CHAT)).toEqual([]);
  });

  it("repeats with the same key and the same bytes until it is answered", async () => {
    let lost = 5;
    gateway.override = ({ method }) => {
      if (method !== "POST" || lost === 0) return undefined;
      lost -= 1;
      return Promise.reject(new TypeError("cut"));
    };
    const { outbox } = tab();
    await outbox.add(CHAT, "once");
    await seconds(60);
    expect(said()).toEqual(["once"]);
    expect(sends()).toHaveLength(6);
    expect(new Set(sends().map(({ headers }) => headers.get("Idempotency-Key"))).size).toBe(1);
    expect(new Set(sends().map(({ body }) => JSON.stringify(body))).size).toBe(1);
  });

  it("keeps what is written offline over a reload, and sends it when there is a network", async () => {
    const storage = memoryOutbox();
    gateway.online(false);
    const before = tab(storage);
    const words = ["1", "2", "3", "4", "5"];
    for (const content of words) await before.outbox.add(CHAT, content);
    before.dispose();
    const after = tab(storage);
    await seconds(100);
    expect(after.outbox.pending(CHAT).map(({ body }) => body.content)).toEqual(words);
    expect(after.outbox.pending(CHAT).every(({ status }) => status === "waiting")).toBe(true);
    gateway.online(true);
    await seconds(0);
    expect(said()).toEqual(words);
  });

  it("says it once, though two tabs send it", async () => {
    const storage = memoryOutbox();
    gateway.online(false);
    const [one, two] = [tab(storage), tab(storage)];
    for (const content of ["a", "b", "c"]) await one.outbox.add(CHAT, content);
    two.outbox.flush();
    gateway.online(true);
    await seconds(5);
    expect(said()).toEqual(["a", "b", "c"]);
    expect(sends().length).toBeGreaterThanOrEqual(3);
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
    expect(said()).toEqual(["a", "b"]);
    expect(sends().filter(({ body }) => body["content"] === "a").length).toBeLessThan(5);
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
    expect(said()).toEqual([]);
    await seconds(2);
    expect(said()).toEqual(["one", "two"]);
    await client.outbox.add(CHAT, "never");
    client.dispose();
    await seconds(20);
    expect(said()).toEqual(["one", "two"]);
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

  it("gives up what the gateway refuses, tells so, and goes on with the next", async () => {
    gateway.override = ({ body }) =>
      body["content"] === "bad" ? problem(422, "invalid-body", "Empty.") : undefined;
    const { outbox } = tab();
    const failed: SendFailed[] = [];
    outbox.onError((error) => failed.push(error));
    const id = await outbox.add(CHAT, "bad");
    await outbox.add(CHAT, "good");
    await seconds(1);
    expect(said()).toEqual(["good"]);
    expect(outbox.pending(CHAT)).toMatchObject([
      { id, status: "failed", reason: "invalid-body" },
    ]);
    expect(failed).toMatchObject([
      { message: "Failed to send. Please try again.", clientMessageId: id },
    ]);
  });

  it("retries what was refused under a new key, and what was not decided under its own", async () => {
    for (const [status, isNewKey] of [
      [409, true],
      [500, false],
    ] as const) {
      gateway.asked.length = 0;
      gateway.override = ({ method }) =>
        method === "POST" ? problem(status, "turn-running", "No.") : undefined;
      const { outbox } = tab();
      const id = await outbox.add(CHAT, `after ${status}`);
      await seconds(1);
      expect(sends()).toHaveLength(1);
      gateway.override = () => undefined;
      await outbox.retry(id);
      await seconds(1);
      expect(said().at(-1)).toBe(`after ${status}`);
      const keys = new Set(sends().map(({ headers }) => headers.get("Idempotency-Key")));
      expect(keys.size).toBe(isNewKey ? 2 : 1);
    }
  });

  it("waits as it is told where the gateway is busy, and gives up in the end", async () => {
    gateway.override = ({ method }) =>
      method === "POST"
        ? problem(429, "mailbox-full", "Full.", { retry_after_s: 9 })
        : undefined;
    const { outbox } = tab();
    await outbox.add(CHAT, "patience");
    await seconds(8);
    expect(sends()).toHaveLength(1);
    await seconds(300);
    expect(sends()).toHaveLength(8);
    expect(outbox.pending(CHAT)).toMatchObject([{ status: "failed", reason: "mailbox-full" }]);
  });

  it("is not woken before the time that the gateway has told", async () => {
    gateway.override = ({ method }) =>
      method === "POST"
        ? problem(429, "rate-limited", "Slowly.", { retry_after_s: 9 })
        : undefined;
    const { outbox } = tab();
    for (let count = 0; count < 9; count += 1) {
      await outbox.add(CHAT, `message ${count}`);
      await seconds(0.5);
    }
    expect(sends()).toHaveLength(1);
    expect(outbox.pending(CHAT).map(({ status }) => status)).toEqual(Array(9).fill("waiting"));
  });

  it("gives up at once what passes in hours only, and keeps its key", async () => {
    gateway.override = ({ method }) =>
      method === "POST"
        ? problem(429, "quota-exceeded", "Enough.", { retry_after_s: 40_000 })
        : undefined;
    const { outbox } = tab();
    const id = await outbox.add(CHAT, "today");
    await seconds(1);
    expect(outbox.pending(CHAT)).toMatchObject([
      { status: "failed", reason: "quota-exceeded" },
    ]);
    gateway.override = () => undefined;
    await outbox.retry(id);
    await seconds(1);
    expect(said()).toEqual(["today"]);
    expect(new Set(sends().map(({ headers }) => headers.get("Idempotency-Key"))).size).toBe(1);
  });

  it("goes on where there was no key for a while", async () => {
    let broken = 3;
    const client = gateway.client({
      storage: memoryOutbox(),
      apiKey: () => {
        if ((broken -= 1) >= 0) throw new TypeError("The tokens' server is away.");
        return "key";
      },
    });
    clients.push(client);
    await client.outbox.add(CHAT, "later");
    await seconds(60);
    expect(said()).toEqual(["later"]);
  });

  it("repeats what is taken and not applied yet", async () => {
    let early = 2;
    gateway.override = ({ method }) => {
      if (method !== "POST" || early === 0) return undefined;
      early -= 1;
      const action = { id: "a", result: null, version: null };
      return Response.json(
        { context: null, status: null, version: null, action },
        { status: 202 },
      );
    };
    const { outbox } = tab();
    await outbox.add(CHAT, "soon");
    await seconds(0);
    expect(outbox.pending(CHAT)).toHaveLength(1);
    await seconds(10);
    expect(said()).toEqual(["soon"]);
    expect(outbox.pending(CHAT)).toEqual([]);
  });

  it("forgets what is discarded", async () => {
    gateway.online(false);
    const storage = memoryOutbox();
    const { outbox } = tab(storage);
    const id = await outbox.add(CHAT, "never");
    await outbox.discard(id);
    gateway.online(true);
    await seconds(100);
    expect(said()).toEqual([]);
    expect(await storage.list()).toEqual([]);
  });

  it("keeps messages of different chats apart", async () => {
    gateway.override = ({ path }) =>
      path.includes("other") ? Promise.reject(new TypeError("cut")) : undefined;
    const { outbox } = tab();
    await outbox.add("other", "stuck");
    await outbox.add(CHAT, "goes");
    await seconds(1);
    expect(said()).toEqual(["goes"]);
    expect(outbox.pending("other")).toHaveLength(1);
    expect(outbox.pending(CHAT)).toBe(outbox.pending(CHAT));
  });

  it("says that a message is not kept where the storage does not take it", async () => {
    const storage = { ...memoryOutbox(), add: () => Promise.reject(new Error("quota")) };
    const { outbox } = tab(storage);
    const adding = outbox.add(CHAT, "lost");
    expect(outbox.pending(CHAT)).toHaveLength(1);
    await expect(adding).rejects.toThrow("quota");
    expect(outbox.pending(CHAT)).toEqual([]);
    expect(sends()).toEqual([]);
  });

  it("sends half of a surrogate pair as browsers do", async () => {
    const { outbox } = tab();
    await outbox.add(CHAT, "cut \ud83d", { metadata: { whole: "\ud83d\ude00" } });
    await seconds(1);
    expect(sends().map(({ body }) => body)).toMatchObject([
      { content: "cut \ufffd", metadata: { whole: "\ud83d\ude00" } },
    ]);
  });

  it("says with it all that is to be said, under the name that it was given", async () => {
    const { outbox } = tab();
    const options = { clientMessageId: "mine", policy: "interrupt" } as const;
    expect(await outbox.add(CHAT, "now", options)).toBe("mine");
    await seconds(1);
    expect(sends()[0]?.body).toEqual({
      content: "now",
      client_message_id: "mine",
      policy: "interrupt",
    });
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
    expect(sends()).toEqual([]);
    expect(listeners.size).toBe(1);
    for (const listener of listeners) listener();
    await seconds(0);
    expect(said()).toEqual(["handed over"]);
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
    expect(said()).toEqual(["one", "two"]);
  });

  it("shows what the storage has last, however long it takes to tell", async () => {
    const storage = memoryOutbox();
    let takesMs = 200;
    const slow = {
      ...storage,
      list: async () => {
        const entries = await storage.list();
        const wait = (takesMs -= 50);
        await new Promise((resolve) => setTimeout(resolve, Math.max(wait, 0)));
        return entries;
      },
    };
    gateway.online(false);
    const { outbox } = tab(slow);
    for (const content of ["a", "b", "c"]) void outbox.add(CHAT, content);
    for (let looks = 0; looks < 20; looks += 1) {
      expect(outbox.pending(CHAT).map(({ body }) => body.content)).toEqual(["a", "b", "c"]);
      await seconds(0.05);
    }
  });

  it("calls nobody back once it is disposed", async () => {
    gateway.override = ({ method }) =>
      method === "POST" ? problem(422, "invalid-body", "Empty.") : undefined;
    const storage = memoryOutbox();
    const update: OutboxStorage["update"] = async (entry) => {
      await new Promise((resolve) => setTimeout(resolve, 1_000));
      await storage.update(entry);
    };
    const client = tab({ ...storage, update });
    const { outbox } = client;
    const told = vi.fn();
    outbox.subscribe(told);
    outbox.onError(told);
    await outbox.add(CHAT, "bad");
    await seconds(0.5);
    client.dispose();
    told.mockClear();
    await seconds(60);
    expect(await storage.list()).toMatchObject([{ status: "failed" }]);
    expect(told).not.toHaveBeenCalled();
  });

  it("begins its back-off and its patience anew with each message", async () => {
    const early = new Map<unknown, number>([
      ["one", 7],
      ["two", 7],
    ]);
    gateway.override = ({ method, body: { content } }) => {
      const left = early.get(content) ?? 0;
      early.set(content, left - 1);
      return method === "POST" && left > 0
        ? problem(503, "store-unavailable", "Away.")
        : undefined;
    };
    const { outbox } = tab();
    await outbox.add(CHAT, "one");
    await outbox.add(CHAT, "two");
    await seconds(300);
    expect(said()).toEqual(["one", "two"]);
    const [first = 0, second = 0] = sends()
      .filter(({ body }) => body["content"] === "two")
      .map(({ atMs }) => atMs);
    expect(second - first).toBeLessThanOrEqual(500);
  });

  it("is patient with the message after one that it has given up", async () => {
    let early = 7;
    gateway.override = ({ method, body }) =>
      method === "POST" && (body["content"] === "never" || (early -= 1) >= 0)
        ? problem(503, "store-unavailable", "Away.")
        : undefined;
    const { outbox } = tab();
    await outbox.add(CHAT, "never");
    await outbox.add(CHAT, "in the end");
    await seconds(300);
    expect(said()).toEqual(["in the end"]);
    expect(outbox.pending(CHAT)).toMatchObject([{ status: "failed" }]);
  });

  it.each([1n, Infinity, NaN])(
    "refuses %s, which is no JSON, and does not stop",
    async (count) => {
      const { outbox } = tab();
      const metadata = { count } as unknown as Record<string, string>;
      const adding = outbox.add(CHAT, "counted", { metadata });
      await expect(adding).rejects.toThrow(TypeError);
      expect(outbox.pending(CHAT)).toEqual([]);
      await outbox.add(CHAT, "next");
      await seconds(1);
      expect(said()).toEqual(["next"]);
    },
  );

  it.each([{ "\ud83d": 1 }, { deep: [{ "cut \udc00": 1 }] }])(
    "refuses half of a surrogate pair in a name at once",
    async (metadata) => {
      const { outbox } = tab();
      await expect(outbox.add(CHAT, "named", { metadata })).rejects.toThrow(TypeError);
      await seconds(1);
      expect(outbox.pending(CHAT)).toEqual([]);
      expect(sends()).toEqual([]);
    },
  );

  it("sends nothing once it is disposed", async () => {
    const storage = memoryOutbox();
    gateway.online(false);
    const client = tab(storage);
    await client.outbox.add(CHAT, "later");
    client.dispose();
    gateway.online(true);
    await seconds(100);
    expect(sends().length).toBeLessThanOrEqual(1);
    expect(await storage.list()).toHaveLength(1);
  });

  it("shows what is on its way at once, and once", async () => {
    const client = tab();
    const sync = client.open(CHAT, { transport: "poll" });
    await seconds(0);
    const sending = sync.send("hello");
    expect(sync.state.messages).toMatchObject([{ content: "hello", status: "sending" }]);
    const counts = new Set<number>();
    sync.subscribe(() => counts.add(sync.state.messages.length));
    await sending;
    await seconds(5);
    expect(saidBy("user", sync.state)).toEqual(["hello"]);
    expect([...counts]).toEqual([1]);
  });
});

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

  beforeEach(() => {
    vi.useRealTimers();
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
  vi.useRealTimers();
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
    vi.useRealTimers();
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
