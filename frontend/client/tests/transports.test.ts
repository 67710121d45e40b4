/** One cursor over all transports; the best that works is taken. */

import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Client, ClientOptions } from "../src/index.js";
import { CHAT, FakeGateway, problem } from "./fake.js";

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

describe("the transports", () => {
  it("begin with a socket, opened with a ticket", async () => {
    const sync = open(withSockets());
    await seconds(0);
    const [socket] = gateway.sockets;
    expect(socket?.url).toBe(`ws://gateway/api/contexts/${CHAT}/ws?ticket=t`);
    socket?.open(gateway.view.cursor);
    socket?.receive({ id: gateway.view.cursor, event: "snapshot", data: { ...gateway.view } });
    expect(sync.state).toMatchObject({
      transport: "websocket",
      connection: "live",
      isStale: false,
    });
    gateway.commit("context-renamed", { title: "T" }, { title: "T" });
    expect(sync.state.context).toEqual(gateway.view);
    expect(gateway.count("GET", "/state")).toBe(0);
  });

  it("fall back to server-sent events where sockets are closed before they open", async () => {
    const sync = open(withSockets());
    for (let tries = 0; tries < 2; tries += 1) {
      await seconds(0);
      gateway.sockets.at(-1)?.end();
      await seconds(1);
    }
    expect(sync.state).toMatchObject({ transport: "sse", connection: "live" });
    expect(gateway.sockets).toHaveLength(2);
  });

  it("fall back to long polls, then to polls, where answers do not stream", async () => {
    gateway.override = ({ path }) =>
      path.endsWith("/events") ? problem(503, "too-many-viewers", "Full.") : undefined;
    const sync = open();
    await seconds(5);
    expect(sync.state).toMatchObject({ transport: "long-poll", connection: "polling" });
    gateway.override = ({ path, query }) =>
      path.endsWith("/events") || query.has("after")
        ? problem(400, "invalid-header", "No.")
        : undefined;
    gateway.change({ title: "woken" });
    await seconds(10);
    expect(sync.state).toMatchObject({ transport: "poll", connection: "polling" });
    expect(sync.state.context?.title).toBe("woken");
  });

  it("climb up again after a while, from the cursor on", async () => {
    gateway.override = ({ path }) =>
      path.endsWith("/events") ? problem(503, "too-many-viewers", "Full.") : undefined;
    const sync = open();
    await seconds(5);
    gateway.override = () => undefined;
    expect(sync.state.transport).toBe("long-poll");
    await seconds(61);
    expect(sync.state.transport).toBe("sse");
    const streams = gateway.asked.filter(({ path }) => path.endsWith("/events"));
    expect(streams.at(-1)?.query.get("after")).toBe(gateway.view.cursor);
  });

  it("leave no timer behind", async () => {
    gateway.override = ({ path, query }, signal) => {
      if (path.endsWith("/events")) return problem(503, "too-many-viewers", "Full.");
      if (!query.has("after")) return undefined;
      return new Promise((_, reject) => {
        signal.addEventListener("abort", () => {
          reject(signal.reason as Error);
        });
      });
    };
    const sync = open();
    await seconds(5);
    expect(sync.state.status).toBe("idle");
    sync.dispose();
    await seconds(0);
    expect(vi.getTimerCount()).toBe(0);
    const again = client.open(CHAT);
    gateway.online(false);
    await seconds(60);
    again.dispose(); // between two tries
    await seconds(0);
    expect(vi.getTimerCount()).toBe(0);
  });

  it("try the better ones less and less often where they go on to fail", async () => {
    gateway.override = ({ path }) =>
      path.endsWith("/events") ? problem(503, "too-many-viewers", "Full.") : undefined;
    const sync = open();
    await seconds(3_600);
    expect(sync.state.transport).toBe("long-poll");
    const tries = gateway.count("GET", "/events");
    expect(tries).toBeGreaterThan(5);
    expect(tries).toBeLessThan(12);
  });

  it("do not go down because there is no network", async () => {
    const sync = open();
    await seconds(1);
    gateway.online(false);
    await seconds(300);
    expect(sync.state).toMatchObject({ connection: "offline", isStale: true });
    gateway.online(true);
    await seconds(0);
    expect(sync.state).toMatchObject({ connection: "live", transport: "sse", isStale: false });
  });

  it("tell once of what goes on", async () => {
    client = gateway.client();
    const onError = vi.fn();
    client.open(CHAT, { onError });
    await seconds(1);
    for (let times = 1; times <= 2; times += 1) {
      gateway.online(false);
      await seconds(300);
      expect(onError).toHaveBeenCalledTimes(times);
      gateway.online(true);
      await seconds(1);
    }
  });

  it("go on after a cut with what was missed", async () => {
    const sync = open();
    await seconds(1);
    const before = gateway.view.cursor;
    gateway.online(false);
    gateway.isOnline = true;
    gateway.commit("context-renamed", { title: "Missed" }, { title: "Missed" });
    await seconds(2);
    expect(sync.state.context).toEqual(gateway.view);
    expect(gateway.asked.at(-1)?.query.get("after")).toBe(before);
    expect(gateway.count("GET", "/state")).toBe(0);
  });

  it("wait as a gateway asks for that says goodbye", async () => {
    open();
    await seconds(1);
    gateway.show({ id: "", event: "bye", data: { reason: "restart", retry_ms: 7_000 } });
    await seconds(6.5);
    expect(gateway.count("GET", "/events")).toBe(1);
    await seconds(1);
    expect(gateway.count("GET", "/events")).toBe(2);
  });

  it("give up a stream that has been silent for too long", async () => {
    open();
    await seconds(44);
    expect(gateway.count("GET", "/events")).toBe(1);
    await seconds(3);
    expect(gateway.count("GET", "/events")).toBe(2);
  });

  it("find out that a silent socket is dead", async () => {
    const sync = open(withSockets());
    await seconds(0);
    const [socket] = gateway.sockets;
    socket?.open(gateway.view.cursor);
    socket?.receive({ id: gateway.view.cursor, event: "snapshot", data: { ...gateway.view } });
    if (socket !== undefined) socket.isOpen = false; // what is sent goes nowhere
    gateway.change({ title: "Unheard" });
    await seconds(31);
    expect(sync.state.context?.title).toBe("Unheard");
    expect(socket?.isClosed).toBe(true);
    await seconds(1);
    expect(gateway.sockets).toHaveLength(2);
    expect(gateway.sockets[1]?.url).toContain(`after=${gateway.view.cursor}`);
  });

  it("do not say that they are offline once they have been stopped", async () => {
    gateway.override = ({ path }) =>
      path.endsWith("/state")
        ? new Promise((_, reject) => {
            setTimeout(() => {
              reject(new TypeError("cut"));
            }, 5_000);
          })
        : Promise.reject(new TypeError("cut"));
    const sync = open();
    await seconds(1);
    gateway.look(true);
    await seconds(10);
    expect(sync.state.connection).toBe("stopped");
  });

  it("do not begin for a chat that is gone", async () => {
    gateway.override = () => problem(404, "not-found", "Context not found");
    const first = open();
    await seconds(1);
    const asked = gateway.asked.length;
    const shown = client.open(CHAT, { enabled: false });
    const again = client.open(CHAT);
    await seconds(60);
    expect(gateway.asked).toHaveLength(asked);
    again.dispose();
    first.dispose();
    expect(shown.state).toMatchObject({ isGone: true, isStale: false });
  });
});
