/** WebSockets: when one is open, when it is dead, and what is left of it. */

import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { ChatStateSync, Client } from "../src/index.js";
import { CHAT, FakeGateway, type FakeSocket } from "./fake.js";

let gateway: FakeGateway;
let client: Client;
let sync: ChatStateSync;
const told: string[] = [];

beforeEach(async () => {
  vi.useFakeTimers();
  gateway = new FakeGateway();
  told.length = 0;
  client = gateway.client({
    webSocket: gateway.socket,
    debug: (message, fields) => told.push(message + JSON.stringify(fields)),
  });
  sync = client.open(CHAT, { transport: "websocket" });
  await seconds(0);
});
afterEach(() => {
  client.dispose();
  vi.useRealTimers();
});

const seconds = (count: number): Promise<unknown> => vi.advanceTimersByTimeAsync(count * 1_000);
const socket = (): FakeSocket => {
  const last = gateway.sockets.at(-1);
  if (last === undefined) throw new Error("There is no socket.");
  return last;
};
const greet = (one: FakeSocket): void => {
  one.open(gateway.view.cursor);
  one.receive({ id: gateway.view.cursor, event: "snapshot", data: { ...gateway.view } });
};
const states = (): number => gateway.count("GET", "/state");

describe("a socket", () => {
  it("is given up where nobody says hello within 10 s", async () => {
    const first = socket();
    await seconds(9.9);
    expect(first.isClosed).toBe(false);
    await seconds(0.2);
    expect(first.isClosed).toBe(true);
    expect(states()).toBe(1);
    greet(first); // too late
    expect(sync.state.connection).toBe("connecting");
    await seconds(11);
    expect(gateway.sockets).toHaveLength(3);
    client.dispose();
    await seconds(0);
    expect(vi.getTimerCount()).toBe(0);
  });

  it("is kept in silence, and the state asked for each 30 s", async () => {
    greet(socket());
    await seconds(95);
    expect(states()).toBe(3);
    expect(gateway.sockets).toHaveLength(1);
    expect(sync.state.connection).toBe("live");
  });

  it("is not asked about while something is heard on it", async () => {
    greet(socket());
    for (let times = 0; times < 10; times += 1) {
      await seconds(20);
      gateway.commit("context-renamed", { title: `${times}` }, { title: `${times}` });
    }
    expect(states()).toBe(0);
    expect(vi.getTimerCount()).toBe(1);
  });

  it("is dead where it is silent and nobody answers", async () => {
    const first = socket();
    greet(first);
    gateway.isOnline = false;
    await seconds(31);
    expect(first.isClosed).toBe(true);
    expect(told.join()).toContain("Unreachable: The socket was silent");
  });

  it("is followed by another one when a gateway that stops wants that", async () => {
    greet(socket());
    socket().receive({ id: "", event: "bye", data: { reason: "restart", retry_ms: 7_000 } });
    socket().end(1012);
    await seconds(6.9);
    expect(gateway.sockets).toHaveLength(1);
    await seconds(0.2);
    expect(gateway.sockets).toHaveLength(2);
  });

  it("is ended by what is no JSON, of which nobody is told more", async () => {
    const first = socket();
    greet(first);
    first.onmessage?.call({} as WebSocket, { data: "private words" } as MessageEvent);
    expect(first.isClosed).toBe(true);
    await seconds(1);
    expect(gateway.sockets).toHaveLength(2);
    expect(told.join()).toContain("transport has failed");
    expect(told.join()).not.toContain("private");
  });

  it("is closed once, and leaves nothing behind", async () => {
    const first = socket();
    greet(first);
    const close = vi.spyOn(first, "close");
    first.end();
    await seconds(1);
    greet(socket());
    client.dispose();
    await seconds(0);
    expect(close).toHaveBeenCalledOnce();
    expect(socket().isClosed).toBe(true);
    expect(vi.getTimerCount()).toBe(0);
  });

  it("is not made where the chat is closed before there is a ticket", async () => {
    client.dispose();
    client = gateway.client({ webSocket: gateway.socket, apiKey: "k" });
    gateway.sockets.length = 0;
    const other = client.open(CHAT, { transport: "websocket" });
    gateway.override = () => {
      const answer = Response.json({ ticket: "t" });
      answer.json = () => {
        other.dispose();
        return Promise.resolve({ ticket: "t" });
      };
      return answer;
    };
    await seconds(1);
    expect(gateway.sockets).toEqual([]);
  });

  it("is missed where there are none, and that is told", async () => {
    client.dispose();
    client = gateway.client({
      webSocket: null,
      debug: (message, fields) => told.push(message + JSON.stringify(fields)),
    });
    client.open(CHAT, { transport: "websocket" });
    await seconds(1);
    expect(told.join()).toContain("There are no WebSockets here.");
  });

  it("is asked for with a ticket that nobody waits for once the chat is closed", async () => {
    client.dispose();
    client = gateway.client({ webSocket: gateway.socket, apiKey: "k" });
    const signals: AbortSignal[] = [];
    gateway.override = (_, signal) => {
      signals.push(signal);
      return new Promise(() => undefined);
    };
    const other = client.open(CHAT, { transport: "websocket" });
    await seconds(1);
    other.dispose();
    expect(signals.map(({ aborted }) => aborted)).toEqual([true]);
  });

  it.each([
    ["http://gateway", "ws://gateway/api"],
    ["https://gateway/under", "wss://gateway/under/api"],
  ])("is as safe as the address is: %s", async (baseUrl, begins) => {
    client.dispose();
    client = gateway.client({ webSocket: gateway.socket, baseUrl });
    client.open(CHAT);
    await seconds(0);
    expect(socket().url.startsWith(begins)).toBe(true);
  });
});
