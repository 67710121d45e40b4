/** One cursor over all transports; the best that works is taken. */

import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { memoryOutbox, type Client, type ClientOptions } from "../src/index.js";
import { FRAMES_HELD_MAX } from "../src/replica.js";
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

  it("keep a socket on a hidden page, and nothing else", async () => {
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

  it("begin a new socket where nobody has looked for long, and keep it otherwise", async () => {
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

  it("count how long nobody has looked, however often it is said that somebody does", async () => {
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

  it("forget that nobody looked where the chat was closed meanwhile", async () => {
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

  it("are told once of the network, however many show the chat", async () => {
    const onNetwork = vi.fn(() => () => undefined);
    const first = open({ onNetwork });
    const count = onNetwork.mock.calls.length;
    client.open(CHAT).dispose();
    client.open(CHAT);
    await seconds(0);
    expect(onNetwork).toHaveBeenCalledTimes(count);
    expect(first.state.connection).toBe("live");
  });

  it("begin a new stream where there is a network again", async () => {
    const sync = open();
    await seconds(1);
    gateway.online(true); // what is open may be of the network before
    await seconds(0);
    expect(gateway.count("GET", "/events")).toBe(2);
    expect(sync.state.connection).toBe("live");
  });

  it("are told at once that the network has gone, though a socket seems open", async () => {
    const sync = open(withSockets());
    await seconds(0);
    gateway.sockets[0]?.open(gateway.view.cursor);
    expect(sync.state.connection).toBe("live");
    gateway.online(false);
    await seconds(0);
    expect(sync.state).toMatchObject({ connection: "offline", isStale: true });
    expect(gateway.sockets[0]?.isClosed).toBe(true);
  });

  it("take nothing more once they have been stopped", async () => {
    const { cursor } = gateway.view;
    const later = cursor.replace(/\.\d+\.\d+$/, `.${gateway.view.version + 1}.0`);
    const frames = [
      { id: "", event: "hello", data: {} },
      { id: cursor, event: "snapshot", data: gateway.view },
      { id: later, event: "context-renamed", data: { at_ms: 0, title: "Late" } },
    ];
    const text = frames
      .map(
        ({ id, event, data }) =>
          `id: ${id}\nevent: ${event}\ndata: ${JSON.stringify(data)}\n\n`,
      )
      .join("");
    gateway.override = () => new Response(text);
    client = gateway.client();
    const sync = client.open(CHAT, {
      onStateUpdate: ({ context }) => {
        if (context !== null) gateway.look(true);
      },
    });
    await seconds(0);
    expect(sync.state).toMatchObject({ cursor, connection: "stopped" });
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

  it("read what cannot be folded in a chat that was closed in mid-read and opened again", async () => {
    const sync = open();
    await seconds(1);
    const signals: AbortSignal[] = [];
    gateway.override = ({ path }, signal) => {
      if (!path.endsWith("/state")) return undefined;
      signals.push(signal);
      return new Promise((_, reject) => {
        signal.addEventListener("abort", () => {
          reject(signal.reason as Error);
        });
      });
    };
    gateway.change({ title: "1" });
    await seconds(0);
    sync.dispose();
    expect(signals.map(({ aborted }) => aborted)).toEqual([true]);
    gateway.override = () => undefined;
    const again = client.open(CHAT);
    await seconds(1);
    gateway.change({ title: "2" });
    await seconds(0);
    expect(again.state).toMatchObject({ context: gateway.view, isStale: false });
  });

  it("change nothing where the same is read once more", async () => {
    const sync = open();
    await seconds(1);
    const before = sync.state;
    await client.service.getChatState(CHAT);
    expect(sync.state).toBe(before);
  });

  it("end with the deletion of the chat", async () => {
    const sync = open();
    await seconds(1);
    gateway.commit("context-deleted", {}, { status: "deleted" });
    await seconds(60);
    expect(sync.state).toMatchObject({ isGone: true, connection: "stopped", error: null });
    expect(gateway.count("GET", "/events")).toBe(1);
  });

  it("begin anew where too much comes before a state is read", async () => {
    const sync = open();
    await seconds(1);
    gateway.override = ({ path }) =>
      path.endsWith("/state") ? new Promise(() => undefined) : undefined;
    for (let count = 0; count <= FRAMES_HELD_MAX; count += 1) gateway.change({});
    await seconds(5);
    expect(gateway.count("GET", "/events")).toBeGreaterThan(1);
    expect(sync.state.isStale).toBe(true);
  });

  it("drop a server-sent stream while the page is hidden", async () => {
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

  it("read the state once for what cannot be folded, and drop what it has seen", async () => {
    const sync = open();
    await seconds(1);
    gateway.change({ title: "1" });
    gateway.change({ title: "2" });
    gateway.commit("context-renamed", { title: "3" }, { title: "3" });
    expect(sync.state.isStale).toBe(false); // it is not here yet
    await seconds(0);
    expect(sync.state.context).toEqual(gateway.view);
    expect(sync.state.isStale).toBe(false);
    expect(gateway.count("GET", "/state")).toBe(1);
  });

  it("fold what comes while the state is being read", async () => {
    const sync = open();
    await seconds(1);
    let release = (): void => undefined;
    gateway.override = ({ path }) => {
      if (!path.endsWith("/state")) return undefined;
      const { view } = gateway;
      return new Promise((resolve) => {
        release = () => {
          resolve(
            Response.json({ context: view, status: view.status, version: 1, action: null }),
          );
        };
      });
    };
    gateway.change({ title: "1" });
    await seconds(0);
    expect(sync.state.isStale).toBe(true);
    gateway.commit("context-renamed", { title: "2" }, { title: "2" });
    await seconds(0);
    expect(sync.state.context?.title).not.toBe("2");
    release();
    await seconds(0);
    expect(sync.state.context).toEqual(gateway.view);
  });

  it("do not ask without a pause where the state that is read is behind", async () => {
    const sync = open();
    await seconds(1);
    const old = gateway.view;
    const body = { context: old, status: old.status, version: old.version, action: null };
    gateway.override = ({ path }) =>
      path.endsWith("/state") ? Response.json(body) : undefined;
    gateway.change({ title: "Newer" });
    await seconds(10);
    expect(sync.state.isStale).toBe(true);
    expect(gateway.asked.length).toBeLessThan(100);
    gateway.override = () => undefined;
    await seconds(1);
    expect(sync.state).toMatchObject({ context: { title: "Newer" }, isStale: false });
  });

  it("take the state of a reset of a newer epoch, whose versions begin anew", async () => {
    const sync = open();
    await seconds(1);
    gateway.change({ title: "Lost" });
    await seconds(0);
    const [epoch = "0"] = gateway.view.cursor.split(".");
    const context = {
      ...gateway.view,
      title: "Kept",
      version: 1,
      cursor: `${Number(epoch) + 1}.1.0`,
    };
    gateway.view = context;
    gateway.show({ id: context.cursor, event: "reset", data: { reason: "epoch", context } });
    await seconds(0);
    expect(sync.state.context).toEqual(context);
  });
});

describe("a callback that throws", () => {
  it("ends neither what is followed nor what is sent, and is heard of", async () => {
    const thrown = new Set<string>();
    const { queueMicrotask } = globalThis;
    vi.stubGlobal("queueMicrotask", (work: () => void) => {
      queueMicrotask(() => {
        try {
          work();
        } catch (error) {
          thrown.add(String(error));
        }
      });
    });
    client = gateway.client({ storage: memoryOutbox() });
    const broken = (): never => {
      throw new Error("of the page");
    };
    const sync = client.open(CHAT, { onStateUpdate: broken, onError: broken });
    sync.subscribe(broken);
    client.outbox.subscribe(broken);
    client.outbox.onError(broken);
    const other = client.open(CHAT);
    await seconds(1);
    gateway.override = ({ body }) =>
      body["content"] === "bad" ? problem(422, "invalid-body", "Empty.") : undefined;
    const id = await sync.send("bad");
    await sync.send("good");
    gateway.online(false);
    await seconds(10);
    gateway.online(true);
    gateway.commit("context-renamed", { title: "Later" }, { title: "Later" });
    await seconds(10);
    expect(gateway.view.messages.map(({ content }) => content)).toEqual(["good"]);
    expect(client.outbox.pending(CHAT)).toMatchObject([{ id, status: "failed" }]);
    expect(other.state).toMatchObject({ connection: "live", context: gateway.view });
    client.dispose();
    await seconds(0);
    vi.unstubAllGlobals();
    expect([...thrown]).toEqual(["Error: of the page"]);
  });
});
