/** What the page keeps and concludes, without a browser. */

import { describe, expect, it } from "vitest";

import { Refused, type Api } from "./api.js";
import { changes } from "./changes.js";
import { Feed, FEED_TYPES, KEPT_PER_TYPE, SHOWN_MAX } from "./feed.js";
import { findings, TROUBLE_MS, Watch, worst } from "./findings.js";
import { columns, HISTORY_S, History, POINTS_MAX } from "./history.js";
import { Link, type Socket } from "./link.js";
import { TROUBLES_MAX, Watcher } from "./watcher.js";
import { ANNOUNCED, type Message, type Stats } from "./wire.js";

const START_MS = Date.parse("2026-01-01T03:00:00Z");
const ALL = new Set(FEED_TYPES);
const timed = { count: 1, p50_ms: 1, p95_ms: 2, p99_ms: 3 };
const worker = {
  ...{
    id: "worker-1",
    role: "worker",
    host: "here",
    process_id: 1,
    started_at: "",
    age_s: 1,
    silent_s: 0,
  },
  ...{ memory_bytes: 1, cpu: 0, lag_ms: 0, draining: false, load: {} },
};

function stats(atMs: number, seq = 0, change: Partial<Stats> = {}): Stats {
  return {
    at: new Date(atMs).toISOString(),
    since: null,
    contexts: { total: 0, by_phase: {}, created: 0, deleted: 0 },
    mailbox: { waiting: 0, oldest_s: 0 },
    actions: { delivered: 0, applied: 0, refused: 0, per_s: 0 },
    turns: {
      started: 0,
      ended: { completed: 0, cancelled: 0, failed: 0 },
      running: 0,
      per_s: 0,
    },
    latency: { window_s: 60, send: timed, poll: timed, save: timed, first_token: timed },
    saves: { commits: 0, snapshots: 0, skipped_clean: 0, bytes: 0 },
    viewers: { sse: 0, websocket: 0, long_poll: 0, dashboard: 0 },
    processes: [worker],
    dead_letters: 0,
    errors: {},
    announcements: { seq, throttled: 0, dropped: 0, skipped: 0 },
    store: { memory_bytes: 1, memory_bytes_max: null, durability: "strict", epoch: "1" },
    ...change,
  };
}

const told = (seq: number, type = "turn_started", data = {}): Message => ({
  ...{ type, seq, data },
  timestamp: new Date(START_MS + seq).toISOString(),
});

/** Time that goes on when it is told to. */
class Time {
  ms = START_MS;
  #due: { readonly at: number; readonly call: () => void }[] = [];

  readonly after = (ms: number, call: () => void): (() => void) => {
    const one = { at: this.ms + ms, call };
    this.#due.push(one);
    return () => {
      this.#due = this.#due.filter((each) => each !== one);
    };
  };

  async pass(ms: number): Promise<void> {
    const end = this.ms + ms;
    for (;;) {
      await settled();
      const next = this.#due.filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0];
      if (next === undefined) break;
      this.ms = Math.max(this.ms, next.at);
      this.#due = this.#due.filter((each) => each !== next);
      next.call();
    }
    this.ms = end;
    await settled();
  }
}

async function settled(): Promise<void> {
  for (let turn = 0; turn < 10; turn += 1) await Promise.resolve();
}

class FakeSocket implements Socket {
  onmessage: Socket["onmessage"] = null;
  onclose: Socket["onclose"] = null;
  readonly sent: unknown[] = [];
  isClosed = false;
  send(text: string): void {
    this.sent.push(JSON.parse(text));
  }
  close(): void {
    this.isClosed = true;
  }
  say(...messages: Message[]): void {
    for (const message of messages) this.onmessage?.({ data: JSON.stringify(message) });
  }
  greet(seq: number, resumedAt: number): void {
    this.say(
      told(seq, "connection_ack", { oldest_seq: 1 }),
      told(seq, "personal", { kind: "resumed", seq: resumedAt }),
    );
  }
}

function gateway(time: Time, answers: () => Stats | Error = () => stats(time.ms)) {
  const sockets: FakeSocket[] = [];
  const asked: string[] = [];
  const api = {
    get: (path: string) => {
      asked.push(path);
      if (path.endsWith("/websocket")) return Promise.resolve({ websocket_url: "/socket" });
      const answer = answers();
      return answer instanceof Error ? Promise.reject(answer) : Promise.resolve(answer);
    },
    post: () => Promise.resolve({ ticket: "t" }),
    remove: () => Promise.resolve(),
  } as unknown as Api;
  const openSocket = (): Socket => {
    const socket = new FakeSocket();
    sockets.push(socket);
    return socket;
  };
  return {
    api,
    openSocket,
    sockets,
    asked,
    after: time.after,
    now: () => time.ms,
    random: () => 1,
  };
}

describe("the feed", () => {
  it("takes an announcement once, in order", () => {
    const feed = new Feed();
    expect([1, 2, 2, 1, 3].map((seq) => feed.take(told(seq)))).toEqual([
      true,
      true,
      false,
      false,
      true,
    ]);
    expect(feed.newest(ALL).map(({ seq }) => seq)).toEqual([3, 2, 1]);
  });

  it("keeps an error however much traffic follows", () => {
    const feed = new Feed();
    feed.take(told(1, "error"));
    for (let seq = 2; seq <= 10_000; seq += 1) feed.take(told(seq, "action_received"));
    expect(feed.newest(new Set(["error"])).map(({ seq }) => seq)).toEqual([1]);
  });

  it("says which numbers will never come", () => {
    const feed = new Feed();
    feed.take(told(3));
    feed.miss(2, 9, "");
    expect(feed.newest(ALL)[0]?.data).toEqual({ from_seq: 4, to_seq: 9 });
    expect([feed.take(told(9)), feed.take(told(10))]).toEqual([false, true]);
  });

  it("goes on behind a store that counts anew, and shows that as newer", () => {
    const feed = new Feed();
    feed.take(told(50));
    feed.renumber(0);
    expect(feed.take(told(1))).toBe(true);
    expect(feed.newest(ALL).map(({ seq }) => seq)).toEqual([1, 50]);
    expect(new Set(feed.newest(ALL).map(({ key }) => key)).size).toBe(2);
  });
});

describe("an hour of messages", () => {
  it("takes no more room than the bounds say", async () => {
    const time = new Time();
    const { sockets, ...options } = gateway(time);
    const watcher = new Watcher(options);
    watcher.start();
    await time.pass(0);
    sockets[0]?.greet(0, 0);
    let seq = 0;
    for (let second = 0; second < 3_600; second += 1) {
      for (let each = 0; each < 20; each += 1) {
        seq += 1;
        const type = ANNOUNCED[seq % ANNOUNCED.length] ?? "error";
        sockets[0]?.say({
          ...told(seq, type, { error: `e${seq.toString()}` }),
          timestamp: new Date(time.ms).toISOString(),
        });
      }
      if (second % 5 === 0) sockets[0]?.say(told(seq, "stats_update", stats(time.ms, seq)));
      if (second % 60 === 0) await time.pass(1_000);
      else time.ms += 1_000;
    }
    await time.pass(1_000);
    const known = watcher.known();
    expect(seq).toBe(72_000);
    expect(known.feed.seq).toBe(seq);
    expect(known.feed.size).toBeLessThanOrEqual(ANNOUNCED.length * KEPT_PER_TYPE);
    expect(known.feed.newest(ALL).length).toBe(SHOWN_MAX);
    expect(known.points.length).toBeLessThanOrEqual(Math.min(POINTS_MAX, HISTORY_S / 5 + 1));
    expect(known.points.length).toBeGreaterThan(300);
    expect(known.findings.length).toBeLessThanOrEqual(TROUBLES_MAX);
    watcher.stop();
  });
});

describe("the link", () => {
  const linked = (time: Time, answers?: () => Stats | Error) => {
    const feed = new Feed();
    const seen: number[] = [];
    const states: string[] = [];
    const made = gateway(time, answers);
    const link = new Link({
      ...made,
      feed,
      onStats: () => undefined,
      onTold: ({ seq }) => seen.push(seq),
      onState: (state) => states.push(state),
    });
    link.start();
    return { ...made, feed, seen, states, link };
  };

  it("resumes behind the last announcement, without a gap or a repetition", async () => {
    const time = new Time();
    const { sockets, seen } = linked(time);
    await time.pass(0);
    sockets[0]?.greet(2, 0);
    sockets[0]?.say(told(1), told(2), told(3));
    sockets[0]?.onclose?.({ code: 1012 });
    await time.pass(1_000);
    const second = sockets[1];
    second?.say(told(5, "connection_ack", { oldest_seq: 1 }));
    expect(second?.sent).toEqual([{ type: "resume", seq: 3 }]);
    second?.say(told(6)); // announced before the gateway has heard of the resume
    second?.say(
      told(3, "personal", { kind: "resumed", seq: 3 }),
      told(4),
      told(5),
      told(6),
      told(7),
    );
    expect(seen).toEqual([1, 2, 3, 4, 5, 6, 7]);
  });

  it("asks for a bounded part of what was before it came", async () => {
    const time = new Time();
    const { sockets } = linked(time);
    await time.pass(0);
    sockets[0]?.say(told(5_000, "connection_ack", { oldest_seq: 100 }));
    expect(sockets[0]?.sent).toEqual([{ type: "resume", seq: 4_800 }]);
  });

  it("asks for statistics while there is no socket, and says so", async () => {
    const time = new Time();
    const { asked, states } = linked(time);
    await time.pass(10_500);
    expect(asked.filter((path) => path === "/api/v1/stats").length).toBe(3);
    expect(states.at(-1)).toBe("polling");
  });

  it("says that nobody answers", async () => {
    const time = new Time();
    const { states } = linked(time, () => new Error("nobody"));
    await time.pass(100);
    expect(states.at(-1)).toBe("away");
  });

  it("says that the key is refused until something succeeds", async () => {
    const time = new Time();
    let answer: Stats | Error = new Refused(403, { type: "forbidden", title: "Forbidden" });
    const { states, sockets } = linked(time, () => answer);
    await time.pass(0);
    for (let second = 0; second < 30; second += 1) {
      sockets.at(-1)?.onclose?.({ code: 1006 }); // not opened: the gateway refuses that, too
      await time.pass(1_000);
    }
    expect(sockets.length).toBeGreaterThan(2);
    expect(new Set(states)).toEqual(new Set(["refused"]));
    answer = stats(time.ms);
    await time.pass(5_000);
    expect(states.at(-1)).toBe("polling");
  });

  it("gives up a socket that has fallen silent", async () => {
    const time = new Time();
    const { sockets } = linked(time);
    await time.pass(0);
    sockets[0]?.greet(0, 0);
    await time.pass(14_000);
    expect(sockets.length).toBe(1);
    await time.pass(2_000);
    expect([sockets[0]?.isClosed, sockets.length]).toEqual([true, 2]);
  });

  it("believes in a store that was set back only when it says so twice", async () => {
    const time = new Time();
    const { sockets, feed } = linked(time);
    await time.pass(0);
    sockets[0]?.greet(0, 0);
    sockets[0]?.say(told(9));
    sockets[0]?.say(told(9, "stats_update", stats(time.ms, 4)));
    expect(feed.seq).toBe(9);
    sockets[0]?.say(told(9, "stats_update", stats(time.ms, 4)));
    expect(feed.seq).toBe(4);
  });
});

describe("the history", () => {
  it("has half an hour, whatever the pace, and a hole where nothing was heard", () => {
    const history = new History();
    for (const second of [0, 5, 60, 65, 65]) history.take(stats(START_MS + second * 1_000));
    const [times, values] = columns(history.points, [({ waiting }) => waiting]);
    expect(times.map((time) => time - START_MS / 1_000)).toEqual([0, 5, 6, 60, 65]);
    expect(values).toEqual([0, 0, null, 0, 0]);
    history.take(stats(START_MS + (HISTORY_S + 62) * 1_000));
    expect(history.points.length).toBe(2);
  });
});

describe("what is found", () => {
  const now = { ms: START_MS, heardMs: START_MS };
  const found = (change: Partial<Stats>, troubles: Parameters<typeof findings>[2] = []) =>
    findings(stats(START_MS, 0, change), "live", troubles, now).map(
      ({ key, level }) => `${level} ${key}`,
    );

  it("is nothing where all is well", () => {
    expect(found({})).toEqual([]);
  });

  it.each<[string, Partial<Stats>]>([
    ["bad workers", { processes: [] }],
    ["warn workers", { processes: [{ ...worker, draining: true }] }],
    ["warn mailbox", { mailbox: { waiting: 1, oldest_s: 5 } }],
    ["bad mailbox", { mailbox: { waiting: 1, oldest_s: 30 } }],
    ["warn silent worker-1", { processes: [{ ...worker, silent_s: 5 }] }],
    ["warn lag worker-1", { processes: [{ ...worker, lag_ms: 250 }] }],
    [
      "bad store",
      { store: { memory_bytes: 95, memory_bytes_max: 100, durability: "strict", epoch: "1" } },
    ],
    ["warn letters", { dead_letters: 1 }],
    [
      "note failed",
      { contexts: { total: 1, by_phase: { failed: 1 }, created: 1, deleted: 0 } },
    ],
  ])("says %s", (words, change) => {
    expect(found(change)).toContain(words);
  });

  it("counts errors of one kind together, and forgets them", () => {
    const error = (agoMs: number) => ({
      type: "error",
      name: "internal",
      atMs: START_MS - agoMs,
    });
    expect(found({}, [error(TROUBLE_MS + 1), error(9), error(1)])).toEqual([
      "warn error internal",
    ]);
    expect(found({}, [error(TROUBLE_MS + 1)])).toEqual([]);
  });

  it("calls numbers old that are old", () => {
    const seen = findings(stats(START_MS), "live", [], {
      ms: START_MS + 15_001,
      heardMs: START_MS,
    });
    expect(worst(seen)).toBe("bad");
  });

  it("is there since it was first seen, and well since nothing was", () => {
    const watch = new Watch(START_MS - 60_000);
    const lag = { key: "lag", level: "warn", words: "", sinceMs: null } as const;
    watch.note([], START_MS - 50_000);
    expect(watch.wellSinceMs).toBe(START_MS - 50_000);
    watch.note([lag], START_MS);
    expect(watch.note([lag], START_MS + 9_000)[0]).toMatchObject({
      sinceMs: START_MS,
      isAtLeast: false,
    });
    expect(watch.wellSinceMs).toBeNull();
    watch.note([], START_MS + 10_000);
    expect(watch.wellSinceMs).toBe(START_MS + 10_000);
    expect(watch.note([lag], START_MS + 20_000)[0]?.sinceMs).toBe(START_MS + 20_000);
  });
});

describe("changes", () => {
  it("are told leaf by leaf, messages by their ids", () => {
    const before = { status: "idle", messages: [{ id: "a", content: "x" }], gone: 1, list: [] };
    const after = {
      status: "failed",
      messages: [
        { id: "b", content: "y" },
        { id: "a", content: "z" },
      ],
      list: [],
      error: { code: "c" },
    };
    expect(changes(before, after)).toEqual([
      { path: "status", before: "idle", after: "failed" },
      { path: "messages › b", before: undefined, after: { id: "b", content: "y" } },
      { path: "messages › a › content", before: "x", after: "z" },
      { path: "error", before: undefined, after: { code: "c" } },
      { path: "gone", before: 1, after: undefined },
    ]);
    expect(changes(after, after)).toEqual([]);
  });

  it("are bounded", () => {
    const many = Object.fromEntries(
      Array.from({ length: 500 }, (_, index) => [index.toString(), index]),
    );
    expect(changes({}, many).length).toBe(100);
  });
});
