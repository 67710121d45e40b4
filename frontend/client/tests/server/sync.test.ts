/** The client against a real server: what it shows is what the server says. */

import { IDBFactory } from "fake-indexeddb";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { indexedDbOutbox, type Client, type TransportName } from "../../src/index.js";
import { addressOf } from "../fake.js";
import { answered, saidBy, until } from "../until.js";
import { clientOf, startContextd, type Contextd } from "./contextd.js";

const TRANSPORTS: readonly TransportName[] = ["websocket", "sse", "long-poll", "poll"];

let server: Contextd;
beforeAll(async () => {
  server = await startContextd();
});
afterAll(async () => {
  await server.stop();
});

async function newChat(client: Client): Promise<string> {
  const { context } = await client.service.createChat({ title: "Test" });
  return context.id;
}

describe.each(TRANSPORTS)("by %s", (transport) => {
  it("shows a streaming reply, and in the end what the server says", async () => {
    const client = clientOf(server);
    const chatId = await newChat(client);
    const sync = client.open(chatId, { transport });
    const texts: string[] = [];
    sync.subscribe(() => {
      const last = sync.state.messages.at(-1);
      if (last?.role === "assistant") texts.push(last.content);
    });
    await sync.send("Count, please\n/chunks 40 50");
    const { context, messages } = await until(sync, answered(1));
    const now = await client.service.getChatState(chatId);
    expect(context).toEqual(now.context);
    const reply = messages.at(-1)?.content ?? "";
    expect(reply).toBe(now.context.messages.at(-1)?.content);
    expect(texts.every((text) => reply.startsWith(text))).toBe(true);
    expect(new Set(texts).size).toBeGreaterThan(transport === "poll" ? 1 : 10);
    expect(sync.state.transport).toBe(transport);
    client.dispose();
  });

  it("shows what others do: tools, queues, branches, names", async () => {
    const [client, other] = [clientOf(server), clientOf(server)];
    const chatId = await newChat(client);
    const sync = client.open(chatId, { transport });
    const { service } = other;
    const same = async (): Promise<void> => {
      const { context } = await service.getChatState(chatId);
      const shown = await until(sync, ({ cursor }) => cursor === context.cursor);
      expect(shown.context).toEqual(context);
    };
    await service.sendMessageAction(chatId, {
      content: 'What is 6 * 7?\n/tool calculator {"expression": "6 * 7"}',
    });
    const asked = await until(sync, ({ status }) => status === "awaiting_tool_approval");
    const calls = asked.context?.pending_tool_calls.map(({ id }) => id) ?? [];
    await service.approveToolsAction(chatId, { tool_call_ids: calls }, { waitMs: 10_000 });
    await same();
    await service.sendMessageAction(chatId, { content: "Long\n/chunks 100 10" });
    await service.sendMessageAction(chatId, { content: "waits" });
    await service.sendMessageAction(chatId, {
      content: "Rather\n/chunks 2 1",
      policy: "interrupt",
    });
    await until(sync, answered(4));
    await same();
    const { context } = await service.regenerate(chatId, {}, { waitMs: 10_000 });
    await same();
    await service.createBranch(chatId, { name: "side", from_message_id: null });
    const first = context.messages.find(({ role }) => role === "user")?.id ?? "";
    const edited = { message_id: first, content: "Other\n/chunks 3 1" };
    await service.editMessage(chatId, edited, { waitMs: 10_000 });
    await same();
    await service.switchBranch(chatId, { name: "side" });
    await service.rename(chatId, { title: "Named" });
    await service.configure(chatId, { system_prompt: "Be brief." });
    await same();
    client.dispose();
    other.dispose();
  });

  it("is told of a deletion, and asks no more", async () => {
    const client = clientOf(server);
    const chatId = await newChat(client);
    const sync = client.open(chatId, { transport });
    await until(sync, ({ context }) => context !== null);
    const other = clientOf(server);
    await other.service.deleteChat(chatId);
    const state = await until(sync, ({ isGone }) => isGone);
    expect(state.connection).toBe("stopped");
    client.dispose();
    other.dispose();
  });
});

describe("the outbox", () => {
  it("sends five messages that were written offline, after a reload, in order, once each", async () => {
    const indexedDB = new IDBFactory();
    const storage = () => indexedDbOutbox({ indexedDB, name: "outbox" });
    let isOnline = true;
    let back = (): void => undefined;
    const options = () => ({
      storage: storage(),
      fetch: ((...asked) =>
        isOnline ? fetch(...asked) : Promise.reject(new TypeError("offline"))) as typeof fetch,
      onNetwork: (listener: () => void) => {
        const before = back;
        back = () => {
          before();
          listener();
        };
        return () => undefined;
      },
    });
    const before = clientOf(server, options());
    const chatId = await newChat(before);
    const said = ["one", "two", "three", "four", "five"];
    isOnline = false;
    const shown = before.open(chatId, { transport: "poll" });
    for (const content of said) await shown.send(content);
    expect(saidBy("user", shown.state)).toEqual(said);
    before.dispose();

    back = () => undefined;
    const after = clientOf(server, options());
    const sync = after.open(chatId, { transport: "sse" });
    const kept = await until(sync, ({ messages }) => messages.length === 5);
    expect(saidBy("user", kept)).toEqual(said);
    isOnline = true;
    back();
    const { context } = await until(sync, answered(5));
    const users = context?.messages.filter(({ role }) => role === "user") ?? [];
    expect(users.map(({ content }) => content)).toEqual(said);
    await vi.waitFor(() => {
      expect(after.outbox.pending(chatId)).toEqual([]);
    }, 20_000);
    after.dispose();
  });

  it("says a message once, whose answer was lost", async () => {
    let lose = 3;
    const client = clientOf(server, {
      fetch: async (input, init) => {
        const response = await fetch(input, init);
        if (addressOf(input).includes("send_message") && lose > 0) {
          lose -= 1;
          throw new TypeError("The answer was lost.");
        }
        return response;
      },
    });
    const chatId = await newChat(client);
    const sync = client.open(chatId);
    await sync.send("once");
    await until(sync, answered(1));
    await vi.waitFor(() => {
      expect(client.outbox.pending(chatId)).toEqual([]);
    }, 20_000);
    const { messages } = await client.service.getMessages(chatId);
    expect(messages.filter(({ role }) => role === "user")).toHaveLength(1);
    expect(lose).toBe(0);
    client.dispose();
  });
});

it("shows after a reload at any moment of a reply what a tab shows that was not disturbed", async () => {
  const seed = Number(process.env["SEED"] ?? Math.floor(Math.random() * 1e9));
  const random = randomOf(seed);
  const undisturbed = clientOf(server);
  const chatId = await newChat(undisturbed);
  const watching = undisturbed.open(chatId, { transport: "websocket" });
  await watching.send("Long\n/chunks 400 15");
  await until(watching, ({ status }) => status === "streaming_llm_response");
  const moments = Array.from({ length: 50 }, () => random() * 5_500).sort((a, b) => a - b);
  const begun = Date.now();
  const reloads: { texts: string[]; done: Promise<void> }[] = [];
  for (const moment of moments) {
    await new Promise((resolve) => setTimeout(resolve, begun + moment - Date.now()));
    const texts: string[] = [];
    const client = clientOf(server);
    const transport = TRANSPORTS[Math.floor(random() * 3)] ?? "sse";
    const sync = client.open(chatId, { transport });
    sync.subscribe(() => {
      const last = sync.state.messages.at(-1);
      if (last?.role === "assistant") texts.push(last.content);
    });
    const done = until(sync, answered(1)).then((state) => {
      expect(state.messages, `seed ${seed}`).toHaveLength(2);
      client.dispose();
    });
    reloads.push({ texts, done });
  }
  const { messages } = await until(watching, answered(1));
  const whole = messages.at(-1)?.content ?? "";
  await Promise.all(reloads.map(({ done }) => done));
  expect(whole.length).toBeGreaterThan(3_000);
  for (const { texts } of reloads) {
    expect(texts.at(-1), `seed ${seed}`).toBe(whole);
    for (const [at, text] of texts.entries()) {
      expect(whole.startsWith(text), `seed ${seed}`).toBe(true);
      expect(text.length >= (texts[at - 1]?.length ?? 0), `seed ${seed}`).toBe(true);
    }
  }
  undisturbed.dispose();
});

/** Draws from [0, 1), the same for the same seed (mulberry32). */
function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
