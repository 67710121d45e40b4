/** When a chat is asked for, and when it is not. */

import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { ChatStateSync, Client, SyncOptions } from "../src/index.js";
import { CHAT, FakeGateway, problem } from "./fake.js";

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

function polled(options: SyncOptions = {}): ChatStateSync {
  return client.open(CHAT, { transport: "poll", ...options });
}

const seconds = (count: number): Promise<unknown> => vi.advanceTimersByTimeAsync(count * 1_000);
const polls = (): number => gateway.count("GET", "/state");

describe("polling", () => {
  it("asks each second, after ten polls without a change each two, then four, then five", async () => {
    polled();
    await seconds(100);
    const gaps = gateway.gaps("/state");
    // The first poll changes what is known; ten unchanged ones follow.
    expect(gaps.slice(0, 10)).toEqual(Array(10).fill(1));
    expect(gaps.slice(10, 20)).toEqual(Array(10).fill(2));
    expect(gaps.slice(20, 30)).toEqual(Array(10).fill(4));
    expect(gaps.slice(30)).toEqual(Array(gaps.length - 30).fill(5));
    expect(gaps.length).toBeGreaterThan(33);
  });

  it("asks each second again once something has changed", async () => {
    polled();
    await seconds(90);
    gateway.change({ title: "Another" });
    await seconds(5);
    const before = gateway.asked.length;
    await seconds(5);
    expect(gateway.asked.length - before).toBe(5);
  });

  it("sends the ETag of what it has, and is answered without a body", async () => {
    const sync = polled();
    await seconds(1);
    const [first, second] = gateway.asked;
    expect(first?.headers.get("If-None-Match")).toBeNull();
    expect(second?.headers.get("If-None-Match")).toBe(`"${gateway.view.cursor}"`);
    expect(sync.state.isStale).toBe(false);
  });

  it("stops while the page is hidden, and asks at once when it is seen", async () => {
    polled();
    await seconds(3);
    gateway.look(true);
    const before = polls();
    await seconds(600);
    expect(polls()).toBe(before);
    gateway.look(false);
    await seconds(0);
    expect(polls()).toBe(before + 1);
    await seconds(2);
    expect(polls()).toBe(before + 3);
  });

  it("has stopped where the page was hidden while an answer was read", async () => {
    gateway.override = ({ path }) => {
      if (!path.endsWith("/state")) return undefined;
      const answer = Response.json({ context: gateway.view });
      answer.json = () => {
        queueMicrotask(() => {
          gateway.look(true);
        });
        return Promise.resolve({ context: gateway.view });
      };
      return answer;
    };
    const sync = polled();
    await seconds(0);
    expect(sync.state).toMatchObject({ connection: "stopped", transport: null });
  });

  it("does not begin on a page that is hidden", async () => {
    gateway.isHidden = true;
    const sync = polled();
    await seconds(60);
    expect(polls()).toBe(0);
    expect(sync.state.connection).toBe("stopped");
    gateway.look(false);
    await seconds(0);
    expect(sync.state.context).not.toBeNull();
  });

  it("stops when the chat is closed", async () => {
    const sync = polled();
    await seconds(3);
    sync.dispose();
    const before = polls();
    await seconds(60);
    expect(polls()).toBe(before);
  });

  it("goes on while somebody else shows the chat, at the same cost", async () => {
    const [one, two] = [polled(), polled()];
    await seconds(3);
    expect(polls()).toBe(4);
    one.dispose();
    one.dispose();
    await seconds(1);
    expect(polls()).toBe(5);
    two.dispose();
    await seconds(60);
    expect(polls()).toBe(5);
  });

  it.each([
    [404, "not-found"],
    [410, "gone"],
  ])("stops for good when it is answered %i", async (status, name) => {
    const onError = vi.fn();
    const sync = polled({ onError });
    await seconds(1);
    gateway.override = () => problem(status, name, "Context not found");
    await seconds(1);
    expect(sync.state).toMatchObject({ isGone: true, connection: "stopped" });
    expect(onError).toHaveBeenCalledOnce();
    const before = polls();
    gateway.look(true);
    gateway.look(false);
    gateway.online(true);
    await seconds(60);
    expect(polls()).toBe(before);
  });

  it("asks for nothing where it is not enabled, but for what is asked for by hand", async () => {
    const sync = polled({ enabled: false });
    await seconds(60);
    expect(polls()).toBe(0);
    await sync.refresh();
    expect(sync.state.context?.id).toBe(CHAT);
    expect(polls()).toBe(1);
  });

  it("asks less and less often where nobody answers, and at once when there is a network", async () => {
    const sync = polled();
    await seconds(1);
    gateway.online(false);
    await seconds(120);
    expect(sync.state).toMatchObject({ connection: "offline", isStale: true });
    expect(Math.max(...gateway.gaps("/state"))).toBeGreaterThan(20);
    const before = polls();
    expect(before).toBeLessThan(30);
    gateway.online(true);
    await seconds(0);
    expect(sync.state).toMatchObject({ connection: "polling", isStale: false, error: null });
  });

  it("waits as long as the gateway asks for", async () => {
    polled();
    await seconds(1);
    gateway.override = () => problem(429, "rate-limited", "Slower.", { retry_after_s: 20 });
    await seconds(2);
    const before = polls();
    await seconds(17);
    expect(polls() - before).toBeLessThanOrEqual(1);
    gateway.override = () => undefined;
    await seconds(25);
    expect(polls()).toBeGreaterThan(before + 2);
  });

  it("drops what is older than what it has seen, whoever brings it", async () => {
    const sync = polled();
    await seconds(0);
    const old = gateway.view;
    gateway.change({ title: "Newer" });
    await seconds(1);
    gateway.override = ({ path }) =>
      path.endsWith("/state")
        ? Response.json({ context: old, status: old.status, version: 1, action: null })
        : undefined;
    await seconds(5);
    await client.service.getChatState(CHAT);
    expect(sync.state.context?.title).toBe("Newer");
  });

  it("asks at once after an own action, and then each second", async () => {
    polled();
    await seconds(90);
    await client.service.rename(CHAT, { title: "T" });
    const before = polls();
    await seconds(3);
    expect(polls() - before).toBe(4);
  });

  it("shows a chat that is opened again as it was, until it is known how it is", async () => {
    gateway.say("One");
    const before = polled();
    await seconds(1);
    before.dispose();
    gateway.say("Two");
    const again = polled();
    expect(again.state).toMatchObject({ messages: [{ content: "One" }], isStale: true });
    await seconds(0);
    expect(again.state).toMatchObject({ messages: [{ content: "One" }, { content: "Two" }] });
    expect(again.state.isStale).toBe(false);
  });

  it("forgets what it has not shown for long", async () => {
    polled().dispose();
    const first = polled();
    await seconds(1);
    first.dispose();
    for (let other = 0; other < 20; other += 1) client.open(`other-${other}`).dispose();
    expect(polled().state.context).toBeNull();
  });
});

describe("long polling", () => {
  const longPolled = (): ChatStateSync => client.open(CHAT, { transport: "long-poll" });
  const rename = (title: string): void => {
    gateway.commit("context-renamed", { title }, { title });
  };
  const longPolls = (): number =>
    gateway.asked.filter(({ headers }) => headers.get("Prefer") === "wait=25").length;

  it("asks again at once after something new, and after 250 ms after nothing", async () => {
    const sync = longPolled();
    await seconds(0.3); // the state, then what happens next
    expect(longPolls()).toBe(1);
    for (let times = 1; times <= 3; times += 1) {
      rename(`${times}`);
      await seconds(0);
      expect(sync.state.context).toEqual(gateway.view);
      expect(longPolls()).toBe(1 + times);
    }
    gateway.override = ({ path }) =>
      path.endsWith("/state") ? Response.json({ events: [] }) : undefined;
    rename("unheard");
    await seconds(0);
    const before = longPolls();
    await seconds(10);
    expect(longPolls() - before).toBe(40);
  });

  it("waits for an answer 30 s longer than the gateway is to wait", async () => {
    const sync = longPolled();
    await seconds(0.3);
    let answer = (): void => undefined;
    gateway.override = ({ headers }, signal) =>
      headers.has("Prefer")
        ? new Promise((resolve, reject) => {
            signal.addEventListener("abort", () => {
              reject(signal.reason as Error);
            });
            answer = () => {
              resolve(Response.json({ events: [] }));
            };
          })
        : undefined;
    rename("one");
    await seconds(54);
    expect(longPolls()).toBe(2);
    answer();
    await seconds(0.3);
    expect(longPolls()).toBe(3);
    expect(sync.state.connection).toBe("polling");
  });

  it.each(["long-poll", "poll"] as const)(
    "finds out at once that it fails, as a %s does",
    async (transport) => {
      const sync = client.open(CHAT, { transport });
      await seconds(0.3);
      gateway.isOnline = false;
      rename("unheard");
      await seconds(2);
      expect(sync.state).toMatchObject({ connection: "offline", isStale: true });
    },
  );

  it("ends its request when the chat is closed", async () => {
    const signals: AbortSignal[] = [];
    gateway.override = (_, signal) => {
      signals.push(signal);
      return undefined;
    };
    const sync = longPolled();
    await seconds(0.3);
    sync.dispose();
    expect(signals.at(-1)?.aborted).toBe(true);
  });
});
