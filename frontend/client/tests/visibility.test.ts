/** What is followed while nobody looks, and with the network that is there. */

import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Client, ClientOptions } from "../src/index.js";
import { CHAT, FakeGateway } from "./fake.js";

let gateway: FakeGateway;
let client: Client;

beforeEach(() => {
  vi.useFakeTimers();
  gateway = new FakeGateway();
});
afterEach(() => {
  client.dispose();
  vi.useRealTimers();
});

function open(options: Partial<ClientOptions> = {}) {
  client = gateway.client(options);
  return client.open(CHAT);
}
const withSockets = (): Partial<ClientOptions> => ({ webSocket: gateway.socket, apiKey: "k" });
const seconds = (count: number): Promise<unknown> => vi.advanceTimersByTimeAsync(count * 1_000);

describe("a client that is told whether somebody looks", () => {
  it("keeps a socket on a hidden page, and nothing else", async () => {
    const sync = open(withSockets());
    await seconds(0);
    const [socket] = gateway.sockets;
    socket?.open(gateway.view.cursor);
    gateway.look(true);
    await seconds(300);
    expect(sync.state.connection).toBe("live");
    expect(gateway.count("GET", "/state")).toBe(0);
    socket?.end();
    await seconds(600);
    expect(gateway.sockets).toHaveLength(1);
    expect(sync.state.connection).toBe("stopped");
    gateway.look(false);
    await seconds(0);
    expect(gateway.sockets).toHaveLength(2);
  });

  it("drops a server-sent stream while the page is hidden", async () => {
    const sync = open();
    await seconds(1);
    gateway.look(true);
    expect(sync.state.connection).toBe("stopped");
    gateway.change({ title: "Meanwhile" });
    await seconds(60);
    expect(gateway.count("GET", "/events")).toBe(1);
    gateway.look(false);
    await seconds(0);
    expect(sync.state.context?.title).toBe("Meanwhile");
  });

  it("begins a new socket where nobody has looked for long, and keeps it otherwise", async () => {
    open(withSockets());
    await seconds(0);
    gateway.sockets[0]?.open(gateway.view.cursor);
    for (const [hiddenS, sockets] of [
      [29, 1],
      [29, 1],
      [31, 2],
    ] as const) {
      gateway.look(true);
      await seconds(hiddenS);
      gateway.look(false);
      await seconds(0);
      expect(gateway.sockets).toHaveLength(sockets);
    }
    expect(gateway.sockets[0]?.isClosed).toBe(true);
  });

  it("counts how long nobody has looked, however often it is said that somebody does", async () => {
    open(withSockets());
    await seconds(0);
    gateway.sockets[0]?.open(gateway.view.cursor);
    gateway.look(true);
    await seconds(20);
    gateway.look(true);
    await seconds(20);
    for (let times = 0; times < 3; times += 1) {
      gateway.look(false);
      await seconds(0);
      expect(gateway.sockets).toHaveLength(2);
    }
  });

  it("forgets that nobody looked where the chat was closed meanwhile", async () => {
    const sync = open(withSockets());
    await seconds(0);
    gateway.sockets[0]?.open(gateway.view.cursor);
    gateway.look(true);
    sync.dispose();
    await seconds(40);
    gateway.look(false);
    client.open(CHAT);
    await seconds(0);
    gateway.sockets[1]?.open(gateway.view.cursor);
    gateway.look(true);
    await seconds(1);
    gateway.look(false);
    await seconds(0);
    expect(gateway.sockets).toHaveLength(2);
  });
});

describe("the network", () => {
  it("is told of once, however many show the chat", async () => {
    const onNetwork = vi.fn(() => () => undefined);
    const first = open({ onNetwork });
    const count = onNetwork.mock.calls.length;
    client.open(CHAT).dispose();
    client.open(CHAT);
    await seconds(0);
    expect(onNetwork).toHaveBeenCalledTimes(count);
    expect(first.state.connection).toBe("live");
  });

  it("brings a new stream where there is one again", async () => {
    const sync = open();
    await seconds(1);
    gateway.online(true); // what is open may be of the network before
    await seconds(0);
    expect(gateway.count("GET", "/events")).toBe(2);
    expect(sync.state.connection).toBe("live");
  });

  it("has gone as soon as that is told, though a socket seems open", async () => {
    const sync = open(withSockets());
    await seconds(0);
    gateway.sockets[0]?.open(gateway.view.cursor);
    expect(sync.state.connection).toBe("live");
    gateway.online(false);
    await seconds(0);
    expect(sync.state).toMatchObject({ connection: "offline", isStale: true });
    expect(gateway.sockets[0]?.isClosed).toBe(true);
  });
});
