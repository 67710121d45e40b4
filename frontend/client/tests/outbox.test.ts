/** What is to be said is kept, in order, and said once. */

import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { memoryOutbox, SendFailed, type Client, type OutboxStorage } from "../src/index.js";
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

describe("the outbox", () => {
  it("sends in order, one after the other, each under its key", async () => {
    const { outbox } = tab();
    await Promise.all(["one", "two", "three"].map((content) => outbox.add(CHAT, content)));
    await seconds(1);
    expect(gateway.said()).toEqual(["one", "two", "three"]);
    const keys = gateway.sends().map(({ headers }) => headers.get("Idempotency-Key"));
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
    expect(gateway.said()).toEqual(["once"]);
    expect(gateway.sends()).toHaveLength(6);
    expect(
      new Set(gateway.sends().map(({ headers }) => headers.get("Idempotency-Key"))).size,
    ).toBe(1);
    expect(new Set(gateway.sends().map(({ body }) => JSON.stringify(body))).size).toBe(1);
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
    expect(gateway.said()).toEqual(words);
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
    expect(gateway.said()).toEqual(["good"]);
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
      expect(gateway.sends()).toHaveLength(1);
      gateway.override = () => undefined;
      await outbox.retry(id);
      await seconds(1);
      expect(gateway.said().at(-1)).toBe(`after ${status}`);
      const keys = new Set(
        gateway.sends().map(({ headers }) => headers.get("Idempotency-Key")),
      );
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
    expect(gateway.sends()).toHaveLength(1);
    await seconds(300);
    expect(gateway.sends()).toHaveLength(8);
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
    expect(gateway.sends()).toHaveLength(1);
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
    expect(gateway.said()).toEqual(["today"]);
    expect(
      new Set(gateway.sends().map(({ headers }) => headers.get("Idempotency-Key"))).size,
    ).toBe(1);
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
    expect(gateway.said()).toEqual(["later"]);
  });

  it("repeats what is taken and not applied yet", async () => {
    let early = 2;
    gateway.override = ({ method }) => {
      if (method !== "POST" || early === 0) return undefined;
      early -= 1;
      const action = { id: "a", result: null, version: null };
      return Response.json(
        { context: gateway.view, status: "idle", version: gateway.view.version, action },
        { status: 202 },
      );
    };
    const { outbox } = tab();
    await outbox.add(CHAT, "soon");
    await seconds(0);
    expect(outbox.pending(CHAT)).toHaveLength(1);
    await seconds(10);
    expect(gateway.said()).toEqual(["soon"]);
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
    expect(gateway.said()).toEqual([]);
    expect(await storage.list()).toEqual([]);
  });

  it("keeps messages of different chats apart", async () => {
    gateway.override = ({ path }) =>
      path.includes("other") ? Promise.reject(new TypeError("cut")) : undefined;
    const { outbox } = tab();
    await outbox.add("other", "stuck");
    await outbox.add(CHAT, "goes");
    await seconds(1);
    expect(gateway.said()).toEqual(["goes"]);
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
    expect(gateway.sends()).toEqual([]);
  });

  it("sends half of a surrogate pair as browsers do", async () => {
    const { outbox } = tab();
    await outbox.add(CHAT, "cut \ud83d", { metadata: { whole: "\ud83d\ude00" } });
    await seconds(1);
    expect(gateway.sends().map(({ body }) => body)).toMatchObject([
      { content: "cut \ufffd", metadata: { whole: "\ud83d\ude00" } },
    ]);
  });

  it("says with it all that is to be said, under the name that it was given", async () => {
    const { outbox } = tab();
    const options = { clientMessageId: "mine", policy: "interrupt" } as const;
    expect(await outbox.add(CHAT, "now", options)).toBe("mine");
    await seconds(1);
    expect(gateway.sends()[0]?.body).toEqual({
      content: "now",
      client_message_id: "mine",
      policy: "interrupt",
    });
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
    expect(gateway.said()).toEqual(["one", "two"]);
    const [first = 0, second = 0] = gateway
      .sends()
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
    expect(gateway.said()).toEqual(["in the end"]);
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
      expect(gateway.said()).toEqual(["next"]);
    },
  );

  it.each([{ "\ud83d": 1 }, { deep: [{ "cut \udc00": 1 }] }])(
    "refuses half of a surrogate pair in a name at once",
    async (metadata) => {
      const { outbox } = tab();
      await expect(outbox.add(CHAT, "named", { metadata })).rejects.toThrow(TypeError);
      await seconds(1);
      expect(outbox.pending(CHAT)).toEqual([]);
      expect(gateway.sends()).toEqual([]);
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
    expect(gateway.sends().length).toBeLessThanOrEqual(1);
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

  it("keeps what comes after a message that the storage did not take", async () => {
    const storage = memoryOutbox();
    const add = vi
      .fn((entry: Parameters<OutboxStorage["add"]>[0]) => storage.add(entry))
      .mockRejectedValueOnce(new Error("quota"));
    const { outbox } = tab({ ...storage, add });
    await expect(outbox.add(CHAT, "lost")).rejects.toThrow("quota");
    await outbox.add(CHAT, "kept");
    await seconds(1);
    expect(gateway.said()).toEqual(["kept"]);
  });

  it("says no longer why a message has failed that is retried", async () => {
    gateway.override = ({ method }) =>
      method === "POST" ? problem(422, "invalid-body", "Empty.") : undefined;
    const { outbox } = tab();
    const id = await outbox.add(CHAT, "again");
    await seconds(1);
    gateway.online(false);
    await outbox.retry(id);
    expect(outbox.pending(CHAT)).toMatchObject([{ id, status: "waiting", reason: null }]);
  });

  it.each([
    [
      "an answer",
      (signal: AbortSignal) =>
        new Promise<Response>((_, reject) => {
          signal.addEventListener("abort", () => {
            reject(signal.reason as Error);
          });
        }),
    ],
    [
      "the time that it was told",
      () => problem(429, "rate-limited", "Slowly.", { retry_after_s: 9 }),
    ],
  ])("does not wait for %s once it is disposed", async (_, answer) => {
    gateway.override = (__, signal) => answer(signal);
    const client = tab();
    await client.outbox.add(CHAT, "later");
    await seconds(1);
    expect(vi.getTimerCount()).toBe(1);
    client.dispose();
    await seconds(0);
    expect(vi.getTimerCount()).toBe(0);
  });

  it("does not try for ever what was kept and can never be sent", async () => {
    const storage = memoryOutbox();
    const told = vi.fn();
    await storage.add({
      id: "1",
      chatId: CHAT,
      body: { content: "x", metadata: { count: 1n } },
      idempotencyKey: "k",
      createdAtMs: 1,
      status: "waiting",
      reason: null,
    });
    clients.push(gateway.client({ storage, debug: told }));
    await seconds(60);
    expect(told.mock.calls.filter(([message]) => message === "outbox has failed")).toHaveLength(
      1,
    );
    expect(vi.getTimerCount()).toBe(0);
  });
});
