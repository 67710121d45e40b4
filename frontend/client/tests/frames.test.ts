/** What becomes of what a transport brings: it is folded, read, or dropped. */

import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Client } from "../src/index.js";
import { FRAMES_HELD_MAX } from "../src/replica.js";
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

function open() {
  client = gateway.client();
  return client.open(CHAT);
}
const seconds = (count: number): Promise<unknown> => vi.advanceTimersByTimeAsync(count * 1_000);

describe("frames", () => {
  it("are not taken once nobody follows the chat", async () => {
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

  it("that cannot be folded have the state read once, and are dropped where it has seen them", async () => {
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

  it("that come while the state is being read are folded into it", async () => {
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

  it("are not asked about without a pause where the state that is read is behind", async () => {
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

  it("that cannot be folded have it read in a chat that was closed in mid-read and opened again", async () => {
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

  it("that are too many before a state is read make the stream begin anew", async () => {
    const sync = open();
    await seconds(1);
    gateway.override = ({ path }) =>
      path.endsWith("/state") ? new Promise(() => undefined) : undefined;
    for (let count = 0; count <= FRAMES_HELD_MAX; count += 1) gateway.change({});
    await seconds(5);
    expect(gateway.count("GET", "/events")).toBeGreaterThan(1);
    expect(sync.state.isStale).toBe(true);
  });

  it("of a reset bring the state of a newer epoch, whose versions begin anew", async () => {
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

  it("end with the deletion of the chat", async () => {
    const sync = open();
    await seconds(1);
    gateway.commit("context-deleted", {}, { status: "deleted" });
    await seconds(60);
    expect(sync.state).toMatchObject({ isGone: true, connection: "stopped", error: null });
    expect(gateway.count("GET", "/events")).toBe(1);
  });
});
