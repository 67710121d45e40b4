/** What a person sees: one test for each story of the issue that needs no browser. */

import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { memoryOutbox, type ChatStateSync, type Client } from "../src/index.js";
import { CHAT, FakeGateway, problem } from "./fake.js";
import { saidBy } from "./until.js";

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

const seconds = (count: number): Promise<unknown> => vi.advanceTimersByTimeAsync(count * 1_000);
async function opened(): Promise<ChatStateSync> {
  const sync = client.open(CHAT, { transport: "poll" });
  await seconds(0);
  return sync;
}

it("send optimistic: the message is shown before anybody has answered", async () => {
  const sync = await opened();
  gateway.override = ({ method }) =>
    method === "POST" ? new Promise(() => undefined) : undefined;
  await sync.send("Hello");
  expect(sync.state.messages).toMatchObject([
    { role: "user", content: "Hello", status: "sending" },
  ]);
});

it("failure rollback: a 500 marks it with what to tell, and a retry sends it", async () => {
  const onError = vi.fn();
  const sync = client.open(CHAT, { transport: "poll", onError });
  gateway.override = ({ method }) =>
    method === "POST" ? problem(500, "internal", "Oops.") : undefined;
  const id = await sync.send("Hello");
  await seconds(1);
  expect(sync.state.messages).toMatchObject([
    {
      status: "failed-to-send",
      error: "Failed to send. Please try again.",
      reason: "internal",
      message: null,
    },
  ]);
  expect(onError).toHaveBeenCalledExactlyOnceWith(
    expect.objectContaining({
      message: "Failed to send. Please try again.",
      clientMessageId: id,
    }),
  );
  gateway.override = () => undefined;
  await sync.retrySend(id);
  await seconds(1);
  expect(sync.state.messages).toMatchObject([
    { content: "Hello", status: "complete", error: null, reason: null },
  ]);
});

it("failure rollback: what is discarded is gone", async () => {
  const sync = await opened();
  gateway.override = ({ method }) =>
    method === "POST" ? problem(500, "internal", "Oops.") : undefined;
  const id = await sync.send("Hello");
  await seconds(1);
  await sync.discardSend(id);
  expect(sync.state.messages).toEqual([]);
});

it("backend differs: its text, id and time are shown, not ours", async () => {
  const sync = await opened();
  gateway.override = ({ method, body }) => {
    if (method !== "POST") return undefined;
    const id = body["client_message_id"] as string;
    gateway.say("Hello (moderated)", {
      client_message_id: id,
      created_at: "2020-01-01T00:00:00.000Z",
    });
    const { view } = gateway;
    const action = { id: "a", result: "applied", version: view.version };
    return Response.json({ context: view, status: view.status, version: view.version, action });
  };
  await sync.send("Hello");
  await seconds(1);
  expect(sync.state.messages).toMatchObject([
    { id: "message-1", content: "Hello (moderated)", createdAt: "2020-01-01T00:00:00.000Z" },
  ]);
});

it("poll active: what others say is shown within a second", async () => {
  const sync = await opened();
  gateway.say("From another tab");
  await seconds(1);
  expect(saidBy("user", sync.state)).toEqual(["From another tab"]);
});

it("reconcile: messages that were there stay the same objects", async () => {
  gateway.say("One");
  const sync = await opened();
  const [one] = sync.state.messages;
  gateway.say("Two");
  await seconds(1);
  expect(sync.state.messages).toHaveLength(2);
  expect(sync.state.messages[0]).toBe(one);
});

it("inactive stop: a page that is hidden, closed, or disabled asks for nothing", async () => {
  const sync = await opened();
  gateway.look(true);
  const before = gateway.asked.length;
  await seconds(600);
  gateway.look(false);
  sync.dispose();
  client.open(CHAT, { transport: "poll", enabled: false });
  await seconds(600);
  expect(gateway.asked.length).toBeLessThanOrEqual(before + 1);
});

it("back-off: a chat in which nothing happens is asked for less often", async () => {
  await opened();
  await seconds(90);
  const before = gateway.asked.length;
  await seconds(60);
  expect(gateway.asked.length - before).toBe(12);
});

it("load on mount: the state is there after one request", async () => {
  gateway.say("Earlier");
  const sync = await opened();
  expect(saidBy("user", sync.state)).toEqual(["Earlier"]);
  expect(gateway.asked).toHaveLength(1);
});

it("no manual persistence calls: only actions and reads go out", async () => {
  const sync = await opened();
  await sync.send("Hello");
  await client.service.rename(CHAT, { title: "T" });
  await seconds(30);
  const kinds = new Set(
    gateway.asked.map(({ method, path }) => `${method} ${path.split(CHAT)[1] ?? ""}`),
  );
  expect([...kinds].sort()).toEqual([
    "GET /state",
    "POST /actions/rename",
    "POST /actions/send_message",
  ]);
});

it("backend overrides local: what it no longer has is no longer shown", async () => {
  gateway.say("Gone soon");
  const sync = await opened();
  gateway.change({ messages: [] });
  await seconds(1);
  expect(sync.state.messages).toEqual([]);
});

it("temp id replaced: the same message, once, under the id that the backend gave it", async () => {
  const sync = await opened();
  const lengths = new Set<number>();
  sync.subscribe(() => lengths.add(sync.state.messages.length));
  const id = await sync.send("Hello");
  expect(sync.state.messages).toMatchObject([{ id, clientMessageId: id }]);
  await seconds(2);
  expect(sync.state.messages).toMatchObject([{ id: "message-1", clientMessageId: id }]);
  expect([...lengths]).toEqual([1]);
});

it("temp id replaced: a message that waits in the queue is not shown twice", async () => {
  const sync = await opened();
  let release = (): void => undefined;
  gateway.override = ({ method, body }) => {
    if (method !== "POST") return undefined;
    const client_message_id = body["client_message_id"] as string;
    const waiting = { id: "q", content: "Later", policy: "enqueue", not_before: null } as const;
    gateway.change({ queue: [{ ...waiting, client_message_id }] });
    return new Promise((resolve) => {
      release = () => {
        resolve(problem(503, "store-unavailable", "Away."));
      };
    });
  };
  await sync.send("Later");
  await seconds(1);
  expect(sync.state.context?.queue).toHaveLength(1);
  expect(sync.state.messages).toEqual([]);
  release();
});

it("history from backend only: a new client has what the backend has, and nothing of its own", async () => {
  const sync = await opened();
  await sync.send("Hello");
  await seconds(1);
  client.dispose();
  gateway.change({ messages: gateway.view.messages.map((m) => ({ ...m, content: "Edited" })) });
  client = gateway.client({ storage: memoryOutbox() });
  const again = await opened();
  expect(saidBy("user", again.state)).toEqual(["Edited"]);
});

it("stale local ignored: an answer that comes late does not undo what came after it", async () => {
  const sync = await opened();
  const old = gateway.view;
  let release = (): void => undefined;
  gateway.override = ({ path }) => {
    if (!path.endsWith("/rename")) return undefined;
    const action = { id: "a", result: "applied", version: old.version };
    const body = { context: old, status: old.status, version: old.version, action };
    return new Promise((resolve) => {
      release = () => {
        resolve(Response.json(body));
      };
    });
  };
  const late = client.service.rename(CHAT, { title: "x" });
  gateway.say("Newer");
  await seconds(1);
  release();
  await late;
  expect(saidBy("user", sync.state)).toEqual(["Newer"]);
});
