/** Requests: each action once, reads shared, conflicts as asked for. */

import { getEventListeners } from "node:events";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { NotUnderstood, Problem, Unreachable, type Client } from "../src/index.js";
import { CHAT, EMPTY, FakeGateway, problem } from "./fake.js";

let gateway: FakeGateway;
let client: Client;

beforeEach(() => {
  vi.useFakeTimers();
  gateway = new FakeGateway();
  client = gateway.client();
});
afterEach(() => {
  client.dispose();
  vi.useRealTimers();
});

const stale = (): Response =>
  problem(412, "version-mismatch", "Stale.", { version: gateway.view.version });

describe("an action", () => {
  it("is sent again until it is answered, under one key", async () => {
    let lost = 2;
    gateway.override = ({ method }) =>
      method === "POST" && (lost -= 1) >= 0 ? Promise.reject(new TypeError("cut")) : undefined;
    const acting = client.service.rename(CHAT, { title: "T" });
    await vi.advanceTimersByTimeAsync(5_000);
    await acting;
    expect(gateway.asked).toHaveLength(3);
    const keys = gateway.asked.map(({ headers }) => headers.get("Idempotency-Key"));
    expect(new Set(keys).size).toBe(1);
    expect(keys[0]).toMatch(
      /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
    );
  });

  it("is given up in the end, and says that nobody knows", async () => {
    gateway.isOnline = false;
    const acting = client.service.cancel(CHAT).catch((error: unknown) => error);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(await acting).toBeInstanceOf(Unreachable);
    expect(gateway.asked).toHaveLength(4);
  });

  it("is not sent again once it was refused", async () => {
    gateway.override = () =>
      problem(429, "queue-full", "Full.", { phase: "streaming_llm_response" });
    await expect(
      client.service.sendMessageAction(CHAT, { content: "x" }),
    ).rejects.toMatchObject({
      type: "queue-full",
      phase: "streaming_llm_response",
    });
    expect(gateway.asked).toHaveLength(1);
  });

  it("does not wait for what passes in hours only", async () => {
    for (const [retryAfterS, count] of [
      [61, 1],
      [60, 4],
    ] as const) {
      gateway.asked.length = 0;
      gateway.override = () =>
        problem(429, "quota-exceeded", "Enough.", { retry_after_s: retryAfterS });
      const acting = client.service.cancel(CHAT).catch((error: unknown) => error);
      await vi.advanceTimersByTimeAsync(200_000);
      expect(await acting).toMatchObject({ type: "quota-exceeded" });
      expect(gateway.asked).toHaveLength(count);
    }
  });

  it("is sent again where there was no key to send it with", async () => {
    client.dispose();
    let broken = 2;
    client = gateway.client({
      apiKey: () =>
        (broken -= 1) >= 0 ? Promise.reject(new TypeError("offline")) : Promise.resolve("key"),
    });
    const acting = client.service.rename(CHAT, { title: "T" });
    await vi.advanceTimersByTimeAsync(5_000);
    await acting;
    expect(gateway.asked).toHaveLength(1);
  });

  it("says what it waits for, what it expects, and who asks", async () => {
    client.dispose();
    client = gateway.client({ apiKey: () => Promise.resolve("ctxd_1") });
    const options = { waitMs: 1_500, ifCursor: "1.2.3", idempotencyKey: "k" };
    await client.service.approveToolsAction(CHAT, { tool_call_ids: ["a"] }, options);
    const [asked] = gateway.asked;
    expect(asked?.path).toBe(`/api/contexts/${CHAT}/actions/approve_tools`);
    expect(Object.fromEntries(asked?.headers ?? [])).toMatchObject({
      authorization: "Bearer ctxd_1",
      prefer: "wait=2",
      "if-match": '"1.2.3"',
      "idempotency-key": "k",
    });
  });

  it("shows its answer at once", async () => {
    const sync = client.open(CHAT, { enabled: false });
    await client.service.sendMessageAction(CHAT, { content: "x" });
    expect(sync.state.messages).toMatchObject([{ content: "x" }]);
  });

  it("does not mind that what is to be deleted is not there", async () => {
    await client.service.deleteChat(CHAT);
    expect(gateway.asked).toMatchObject([{ method: "DELETE" }]);
  });

  it.each([
    [500, NotUnderstood],
    [502, Unreachable],
    [504, Unreachable],
  ])("takes a proxy's page of status %i for what it is", async (status, kind) => {
    gateway.override = () => new Response("<html>", { status });
    const acting = client.service.cancel(CHAT, {}, { tries: 1 });
    await expect(acting).rejects.toBeInstanceOf(kind);
  });

  it("tells why something could not be deleted", async () => {
    gateway.override = () => problem(403, "forbidden", "No.");
    await expect(client.service.deleteChat(CHAT)).rejects.toMatchObject({ status: 403 });
  });

  it("is sent again where no answer comes, 30 s after the time for which it may wait", async () => {
    gateway.override = (_, signal) =>
      new Promise((_resolve, reject) => {
        signal.addEventListener("abort", () => {
          reject(signal.reason as Error);
        });
      });
    for (const waitMs of [undefined, 60_000]) {
      gateway.asked.length = 0;
      const acting = client.service.cancel(CHAT, {}, waitMs === undefined ? {} : { waitMs });
      const ended = acting.catch((error: unknown) => error);
      await vi.advanceTimersByTimeAsync(29_900 + (waitMs ?? 0));
      expect(gateway.asked).toHaveLength(1);
      await vi.advanceTimersByTimeAsync(1_000);
      expect(gateway.asked).toHaveLength(2);
      await vi.advanceTimersByTimeAsync(400_000);
      expect(await ended).toBeInstanceOf(Unreachable);
    }
  });

  it.each([
    ["before it is answered", null, {}],
    ["in its only try", null, { tries: 1 }],
    ["between two tries", 150, {}],
  ] as const)("ends when its signal says so %s", async (_, atMs, options) => {
    client.dispose();
    const apiKey = vi.fn(() => "key");
    client = gateway.client({ apiKey });
    gateway.isOnline = false;
    const end = new AbortController();
    const acting = client.service.cancel(CHAT, {}, { ...options, signal: end.signal });
    const ended = acting.catch((error: unknown) => error);
    if (atMs !== null) await vi.advanceTimersByTimeAsync(atMs);
    end.abort("enough");
    expect(await ended).toBe("enough");
    expect(apiKey).toHaveBeenCalledOnce();
    expect(vi.getTimerCount()).toBe(0);
  });

  it("is sent again when it was told to, not before", async () => {
    let busy = 1;
    gateway.override = () =>
      (busy -= 1) >= 0
        ? problem(503, "draining", "Elsewhere.", { retry_after_s: 5 })
        : undefined;
    const acting = client.service.rename(CHAT, { title: "T" });
    await vi.advanceTimersByTimeAsync(4_900);
    expect(gateway.asked).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(200);
    await acting;
    expect(gateway.asked).toHaveLength(2);
  });

  it("is sent again where its answer is cut in the middle", async () => {
    let cuts = 1;
    gateway.override = () => {
      if ((cuts -= 1) < 0) return undefined;
      const body = new ReadableStream<Uint8Array>({
        start(controller) {
          controller.enqueue(new TextEncoder().encode('{"context":'));
        },
        pull(controller) {
          controller.error(new TypeError("cut"));
        },
      });
      return new Response(body);
    };
    const acting = client.service.rename(CHAT, { title: "T" });
    await vi.advanceTimersByTimeAsync(1_000);
    expect((await acting).action?.result).toBe("applied");
    expect(gateway.asked).toHaveLength(2);
  });

  it("goes to the address as it was given, without a key where there is none, past all caches", async () => {
    const fetch = vi.fn<typeof globalThis.fetch>(() => Promise.reject(new TypeError("cut")));
    const other = gateway.client({ baseUrl: "http://gateway/under//", fetch });
    const acting = other.service.cancel(CHAT, {}, { tries: 1 });
    await expect(acting).rejects.toBeInstanceOf(Unreachable);
    other.dispose();
    const [address, init] = fetch.mock.calls[0] ?? [];
    expect(address).toBe(`http://gateway/under/api/contexts/${CHAT}/actions/cancel`);
    expect(new Headers(init?.headers).has("Authorization")).toBe(false);
    expect(init?.cache).toBe("no-store");
  });

  it("takes an answer that is not contextd's for none", async () => {
    gateway.override = () => new Response("<html>", { status: 200 });
    await expect(client.service.getChatState(CHAT)).rejects.toBeInstanceOf(NotUnderstood);
  });

  it.each([{ title: "Not here." }, { type: null, status: 200 }, {}, null, "no"])(
    "goes by the status where a proxy's problem leaves out the rest: %j",
    async (document) => {
      const headers = { "Content-Type": "application/problem+json" };
      gateway.override = () => new Response(JSON.stringify(document), { status: 403, headers });
      const error: unknown = await client.service
        .rename(CHAT, { title: "T" })
        .catch((refused: unknown) => refused);
      expect(error).toBeInstanceOf(Problem);
      expect(error).toMatchObject({ type: "about:blank", status: 403, isPassing: false });
    },
  );
});

describe("a read", () => {
  it("is shared by all who ask the same meanwhile", async () => {
    const { service } = client;
    const [one, two] = await Promise.all([
      service.getChatState(CHAT),
      service.getChatState(CHAT),
    ]);
    expect(one).toBe(two);
    expect(gateway.asked).toHaveLength(1);
    await service.getChatState(CHAT);
    expect(gateway.asked).toHaveLength(2);
  });

  it("is not shared with one that began before an action was answered", async () => {
    let release = (): void => undefined;
    gateway.override = ({ method }) => {
      if (method !== "GET") return undefined;
      return new Promise((resolve) => {
        const { view } = gateway;
        const body = {
          context: view,
          status: view.status,
          version: view.version,
          action: null,
        };
        const before = release;
        release = () => {
          before();
          resolve(Response.json(body));
        };
      });
    };
    const early = client.service.getChatState(CHAT);
    await vi.advanceTimersByTimeAsync(0);
    await client.service.sendMessageAction(CHAT, { content: "x" });
    const late = client.service.getChatState(CHAT);
    await vi.advanceTimersByTimeAsync(0);
    release();
    expect((await early).context.messages).toHaveLength(0);
    expect((await late).context.messages).toHaveLength(1);
  });

  it("is abandoned by one who asks, and goes on for the other", async () => {
    const { service } = client;
    const abandoned = new AbortController();
    const one = service.getChatState(CHAT, { signal: abandoned.signal });
    const two = service.getChatState(CHAT);
    abandoned.abort("enough");
    await expect(one).rejects.toBe("enough");
    expect((await two).context.id).toBe(CHAT);
    await expect(service.getChatState(CHAT, { signal: abandoned.signal })).rejects.toBe(
      "enough",
    );
  });

  it("leaves nothing at a signal that lives longer", async () => {
    const { signal } = new AbortController();
    await client.service.getChatState(CHAT, { signal });
    await vi.advanceTimersByTimeAsync(0);
    expect(getEventListeners(signal, "abort")).toEqual([]);
  });

  it("says where the next page of a list begins, if there is one", async () => {
    for (const [link, next] of [
      ['</api/contexts?limit=2&after=a%2Fb>; rel="next"', "a/b"],
      ["", null],
    ] as const) {
      const headers = link === "" ? {} : { Link: link };
      gateway.override = () => Response.json({ contexts: [] }, { headers });
      expect(await client.service.listChats({ limit: 2 })).toEqual({ contexts: [], next });
    }
    expect([...(gateway.asked[0]?.query ?? [])]).toEqual([["limit", "2"]]);
  });
});

describe("a conflict", () => {
  it("is lost to the server, whose state comes with it", async () => {
    const sync = client.open(CHAT, { enabled: false });
    gateway.change({ title: "Theirs" });
    gateway.override = ({ method }) => (method === "POST" ? stale() : undefined);
    const refused = await client.service
      .rename(CHAT, { title: "Ours" }, { ifCursor: "1.1.0" })
      .catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(Problem);
    expect((refused as Problem).context?.title).toBe("Theirs");
    expect(sync.state.context?.title).toBe("Theirs");
    expect(gateway.count("POST", "/rename")).toBe(1);
  });

  it("is rebased: the same on the state as it is now, under another key", async () => {
    let conflicts = 2;
    gateway.override = ({ method }) =>
      method === "POST" && (conflicts -= 1) >= 0 ? stale() : undefined;
    await client.service.rename(
      CHAT,
      { title: "Ours" },
      { ifCursor: "1.1.0", onConflict: "rebase", idempotencyKey: "k" },
    );
    const sent = gateway.asked.filter(({ method }) => method === "POST");
    const present = `"${EMPTY.cursor}"`;
    const expected = ['"1.1.0"', present, present];
    expect(sent.map(({ headers }) => headers.get("If-Match"))).toEqual(expected);
    expect(new Set(sent.map(({ headers }) => headers.get("Idempotency-Key"))).size).toBe(3);
  });

  it("is not rebased for ever", async () => {
    gateway.override = ({ method }) => (method === "POST" ? stale() : undefined);
    const options = { ifCursor: "1.1.0", onConflict: "rebase" } as const;
    await expect(client.service.rename(CHAT, { title: "x" }, options)).rejects.toThrow(
      "Stale.",
    );
    expect(gateway.count("POST", "/rename")).toBe(4);
  });

  it("is not rebased where the same would be refused again", async () => {
    gateway.override = ({ method }) =>
      method === "POST"
        ? problem(409, "illegal-in-phase", "Not now.", { version: gateway.view.version })
        : undefined;
    await expect(client.service.resume(CHAT, {}, { onConflict: "rebase" })).rejects.toThrow();
    expect(gateway.count("POST", "/resume")).toBe(1);
  });

  it("is asked about: another body, or none", async () => {
    gateway.override = ({ method, body }) =>
      method === "POST" && body["title"] !== "Both" ? stale() : undefined;
    const onConflict = vi.fn(({ context }: { context: { title: string } }) =>
      context.title === "given up" ? null : { title: "Both" },
    );
    await client.service.rename(CHAT, { title: "Ours" }, { ifCursor: "1.1.0", onConflict });
    expect(gateway.asked.at(-1)?.body).toEqual({ title: "Both" });
    gateway.change({ title: "given up" });
    const options = { ifCursor: "1.1.0", onConflict };
    await expect(client.service.rename(CHAT, { title: "Ours" }, options)).rejects.toThrow();
    expect(onConflict).toHaveBeenCalledTimes(2);
  });
});

describe("the debug switch", () => {
  it("tells what happens, and neither contents nor keys", async () => {
    const told: string[] = [];
    client.dispose();
    client = gateway.client({
      apiKey: "ctxd_secret",
      debug: (message, fields) => told.push(message + JSON.stringify(fields)),
    });
    const sync = client.open(CHAT);
    await sync.send("private words");
    await vi.advanceTimersByTimeAsync(1_000);
    expect(told.some((line) => line.includes("connecting"))).toBe(true);
    expect(told.some((line) => line.includes("request answered"))).toBe(true);
    expect(told.join()).not.toMatch(/secret|private/);
  });
});
