/** Server-sent events: what keeps a stream, what ends it, and what is read of it. */

import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { ChatStateSync, Client, Frame } from "../src/index.js";
import { EventParser } from "../src/transports/sse.js";
import { CHAT, FakeGateway } from "./fake.js";

let gateway: FakeGateway;
let client: Client;
const told: string[] = [];

beforeEach(() => {
  vi.useFakeTimers();
  gateway = new FakeGateway();
  told.length = 0;
  client = gateway.client({
    debug: (message, fields) => told.push(message + JSON.stringify(fields)),
  });
});
afterEach(() => {
  client.dispose();
  vi.useRealTimers();
});

const followed = (): ChatStateSync => client.open(CHAT, { transport: "sse" });
const seconds = (count: number): Promise<unknown> => vi.advanceTimersByTimeAsync(count * 1_000);
const streams = (): number => gateway.count("GET", "/events");
const encode = (text: string): Uint8Array<ArrayBuffer> => new TextEncoder().encode(text);

const HELLO = 'event: hello\ndata: {"epoch":"1"}\n\n';

/** Answer the next streams with what a test writes; what each was asked with. */
function written() {
  const open: {
    say: (piece: string | Uint8Array) => void;
    end: () => void;
    cut: () => void;
    signal: AbortSignal;
    accept: string | null;
  }[] = [];
  gateway.override = ({ path, headers }, signal) => {
    if (!path.endsWith("/events")) return undefined;
    const body = new ReadableStream<Uint8Array>({
      start(controller) {
        signal.addEventListener("abort", () => {
          controller.error(signal.reason);
        });
        open.push({
          say: (piece) => {
            controller.enqueue(typeof piece === "string" ? encode(piece) : piece);
          },
          end: () => {
            controller.close();
          },
          cut: () => {
            controller.error(new TypeError("cut"));
          },
          signal,
          accept: headers.get("Accept"),
        });
      },
    });
    return new Response(body);
  };
  return open;
}

const snapshot = (): string =>
  `id: ${gateway.view.cursor}\nevent: snapshot\ndata: ${JSON.stringify(gateway.view)}\n\n`;

describe("a stream of server-sent events", () => {
  it("is kept for as long as anything is heard, and asked for as what it is", async () => {
    const open = written();
    followed();
    await seconds(0);
    open[0]?.say(HELLO);
    for (let times = 0; times < 10; times += 1) {
      await seconds(40);
      open[0]?.say(":\n\n");
    }
    await seconds(44);
    expect(open.map(({ accept }) => accept)).toEqual(["text/event-stream"]);
    client.dispose();
    await seconds(0);
    expect(vi.getTimerCount()).toBe(0);
  });

  it("is given up where its answer does not even begin", async () => {
    gateway.override = ({ path }, signal) =>
      path.endsWith("/events")
        ? new Promise((_, reject) => {
            signal.addEventListener("abort", () => {
              reject(signal.reason as Error);
            });
          })
        : undefined;
    followed();
    await seconds(44);
    expect(streams()).toBe(1);
    await seconds(3);
    expect(streams()).toBe(2);
  });

  it("is given up where the answer has no body", async () => {
    gateway.override = ({ path }) =>
      path.endsWith("/events") ? new Response(null, { status: 204 }) : undefined;
    const sync = client.open(CHAT);
    await seconds(2);
    expect(sync.state).toMatchObject({ transport: "long-poll", connection: "polling" });
  });

  it("is none where nobody says hello", async () => {
    const open = written();
    const sync = client.open(CHAT);
    for (let times = 0; times < 2; times += 1) {
      await seconds(1);
      open[times]?.say(snapshot());
      open[times]?.end();
    }
    await seconds(1);
    expect(sync.state).toMatchObject({ transport: "long-poll", connection: "polling" });
  });

  it.each([
    ["goodbye", 'event: bye\ndata: {"reason":"restart","retry_ms":1000}\n\n'],
    ["what is no JSON", "event: context-renamed\ndata: private words\n\n"],
  ])("reads no further after %s", async (_, last) => {
    const open = written();
    followed();
    await seconds(0);
    open[0]?.say(HELLO + last);
    await seconds(0);
    expect(open[0]?.signal.aborted).toBe(true);
    await seconds(2);
    expect(open).toHaveLength(2);
    expect(told.join()).not.toContain("private");
  });

  it("was cut where it ends in an error or in silence", async () => {
    const open = written();
    followed();
    await seconds(0);
    open[0]?.say(HELLO);
    open[0]?.cut();
    await seconds(47);
    const failed = told.filter((line) => line.startsWith("transport has failed"));
    expect(failed).toHaveLength(2);
    for (const line of failed) expect(line).toContain("Unreachable: The stream was cut.");
  });

  it("is put together from pieces that end in the middle of a character", async () => {
    const open = written();
    gateway.change({ title: "Grüße \u{1F44B}" });
    const sync = followed();
    await seconds(0);
    for (const byte of encode(HELLO + snapshot())) open[0]?.say(Uint8Array.of(byte));
    await seconds(0);
    expect(sync.state.context).toEqual(gateway.view);
  });
});

describe("the parser of events", () => {
  const text =
    ': hi\n\nid: 1.2.3\r\nevent: a\r\ndata: {"x":\r\ndata: "\u{1F44B}"}\r\n\r\nid: 1.2.4\nevent:b\ndata:{}\n\n' +
    "id: 1.2.5\revent:  c\rdata: 1\r\rid: 1.2.6\nevent: nothing\n\ndata: 2\n\nid: 7\nid\nevent: d\nevent\ndata: 3\n\n";
  const FRAMES: readonly Frame[] = [
    { id: "1.2.3", event: "a", data: { x: "\u{1F44B}" } },
    { id: "1.2.4", event: "b", data: {} },
    { id: "1.2.5", event: " c", data: 1 as never },
    { id: "", event: "", data: 2 as never },
    { id: "", event: "", data: 3 as never },
  ];

  it("gives the same events, whatever the pieces", () => {
    for (let cut = 0; cut <= text.length; cut += 1) {
      const parser = new EventParser(1_000);
      const frames = [...parser.push(text.slice(0, cut)), ...parser.push(text.slice(cut))];
      expect(frames).toEqual(FRAMES);
    }
  });

  it.each([
    ["a line", "data: 0123456789"],
    ["an event of many lines", "data: 01234\ndata: 5\n"],
  ])("refuses %s that never ends", (_, endless) => {
    expect([...new EventParser(endless.length).push(endless)]).toEqual([]);
    expect(() => [...new EventParser(15).push(endless)]).toThrow("An event is too large.");
  });

  it("refuses no number of events that are small", () => {
    const parser = new EventParser(20);
    for (let times = 0; times < 5; times += 1) {
      expect([...parser.push("data: 12345678\n\n")]).toHaveLength(1);
    }
  });
});
