/**
 * What an operator has to know: whether all is well, what is not, and since when.
 *
 * Pure: statistics, the link and the latest trouble in, findings out. `Watch` adds since when
 * each of them is there; where the server does not say, that is when this page has first seen it.
 */

import { bytes, count, milliseconds, span, spoken } from "./words.js";
import type { ProcessStats, Stats } from "./wire.js";

export type Level = "note" | "warn" | "bad";

export interface Finding {
  /** The same while it is the same trouble. */
  readonly key: string;
  readonly level: Level;
  readonly words: string;
  /** Unix time in milliseconds; null: the server does not say. */
  readonly sinceMs: number | null;
}

export interface Noted extends Finding {
  readonly sinceMs: number;
  /** It may have begun before this page looked. */
  readonly isAtLeast: boolean;
}

/** How the page gets its numbers. */
export type LinkState = "connecting" | "live" | "polling" | "away" | "refused";

/** Errors and lost workers that were announced, newest last. */
export interface Trouble {
  readonly type: string;
  readonly name: string;
  readonly atMs: number;
}

/** How old the numbers may be before they are called old. */
export const STALE_MS = 15_000;
/** How long an error or a lost worker is worth a line. */
export const TROUBLE_MS = 300_000;
const WAITING_S_WARN = 5;
const WAITING_S_BAD = 30;
export const SILENT_S_WARN = 5;
const LAG_MS_WARN = 250;
const LAG_MS_BAD = 2_000;
const MEMORY_WARN = 0.8;
const MEMORY_BAD = 0.95;

export function findings(
  stats: Stats | null,
  link: LinkState,
  troubles: readonly Trouble[],
  now: { readonly ms: number; readonly heardMs: number },
): readonly Finding[] {
  const found: Finding[] = [];
  const say = (
    key: string,
    level: Level,
    words: string,
    sinceMs: number | null = null,
  ): void => {
    found.push({ key, level, words, sinceMs });
  };
  if (link === "refused")
    say(
      "link",
      "bad",
      "This key may not see the dashboard; it takes one with the scope dashboard",
    );
  else if (link === "away")
    say(
      "link",
      "bad",
      "No gateway answers; the numbers below are the last ones known",
      now.heardMs || null,
    );
  else if (stats !== null && now.ms - now.heardMs > STALE_MS)
    say(
      "link",
      "bad",
      "No statistics come: the store or the gateway is too slow, or away",
      now.heardMs,
    );
  else if (link === "polling")
    say("link", "note", "No live connection; statistics are asked for every 5 s");
  if (stats === null) return found;

  const atMs = Date.parse(stats.at);
  const workers = stats.processes.filter((each) => each.role === "worker");
  if (workers.length === 0)
    say("workers", "bad", "No worker is there: actions are taken and wait");
  else if (workers.every((each) => each.draining))
    say("workers", "warn", "All workers are draining");
  if (stats.mailbox.oldest_s >= WAITING_S_WARN) {
    const level = stats.mailbox.oldest_s >= WAITING_S_BAD ? "bad" : "warn";
    say(
      "mailbox",
      level,
      `${count(stats.mailbox.waiting)} actions wait for a worker`,
      atMs - stats.mailbox.oldest_s * 1_000,
    );
  }
  for (const each of stats.processes) found.push(...ofProcess(each, atMs));
  const { memory_bytes: used, memory_bytes_max: room } = stats.store;
  if (room !== null && room > 0 && used >= room * MEMORY_WARN) {
    say(
      "store",
      used >= room * MEMORY_BAD ? "bad" : "warn",
      `The store has ${bytes(room - used)} of ${bytes(room)} left`,
    );
  }
  if (stats.dead_letters > 0)
    say(
      "letters",
      "warn",
      `${count(stats.dead_letters)} dead ${stats.dead_letters === 1 ? "letter waits" : "letters wait"} for a decision`,
    );
  found.push(...ofTroubles(troubles, now.ms));
  const failed = stats.contexts.by_phase["failed"] ?? 0;
  if (failed > 0)
    say(
      "failed",
      "note",
      `${count(failed)} ${failed === 1 ? "context has" : "contexts have"} failed and can be retried`,
    );
  return found;
}

function ofProcess(process: ProcessStats, atMs: number): readonly Finding[] {
  const { id, silent_s, lag_ms, draining } = process;
  if (silent_s >= SILENT_S_WARN) {
    return [
      {
        key: `silent ${id}`,
        level: "warn",
        words: `${id} has not reported for ${span(silent_s)}`,
        sinceMs: atMs - silent_s * 1_000,
      },
    ];
  }
  if (draining)
    return [{ key: `drain ${id}`, level: "note", words: `${id} is draining`, sinceMs: null }];
  if (lag_ms < LAG_MS_WARN) return [];
  const level = lag_ms >= LAG_MS_BAD ? "bad" : "warn";
  return [
    {
      key: `lag ${id}`,
      level,
      words: `${id} is overloaded: its loop lags ${milliseconds(lag_ms)}`,
      sinceMs: null,
    },
  ];
}

/** One line for each kind of what has gone wrong lately. */
function ofTroubles(troubles: readonly Trouble[], nowMs: number): readonly Finding[] {
  const kinds = new Map<string, Trouble[]>();
  for (const trouble of troubles) {
    if (nowMs - trouble.atMs > TROUBLE_MS) continue;
    const key = `${trouble.type} ${trouble.name}`;
    kinds.set(key, [...(kinds.get(key) ?? []), trouble]);
  }
  return [...kinds].map(([key, all]) => {
    const [{ type, name, atMs } = { type: "", name: "", atMs: nowMs }] = all;
    const times = all.length === 1 ? "" : `, ${count(all.length)} times`;
    const words =
      type === "worker_lost"
        ? `A worker died${times}; its contexts were taken over`
        : `Error: ${spoken(name)}${times} in the last 5 min`;
    return { key, level: "warn", words, sinceMs: atMs };
  });
}

export function worst(found: readonly Finding[]): Level | null {
  return found.some(({ level }) => level === "bad")
    ? "bad"
    : found.some(({ level }) => level === "warn")
      ? "warn"
      : found.length > 0
        ? "note"
        : null;
}

/** Remembers since when each finding is there, and since when there is none that matters. */
export class Watch {
  readonly #openedMs: number;
  #since = new Map<string, number>();
  #wellMs: number | null = null;

  constructor(nowMs: number) {
    this.#openedMs = nowMs;
  }

  /** Since when all is well; null: it is not. */
  get wellSinceMs(): number | null {
    return this.#wellMs;
  }

  note(found: readonly Finding[], nowMs: number): readonly Noted[] {
    this.#since = new Map(found.map(({ key }) => [key, this.#since.get(key) ?? nowMs]));
    const level = worst(found);
    this.#wellMs = level === null || level === "note" ? (this.#wellMs ?? nowMs) : null;
    return found.map((finding) => {
      const seenMs = this.#since.get(finding.key) ?? nowMs;
      const isAtLeast = finding.sinceMs === null && seenMs - this.#openedMs < STALE_MS;
      return { ...finding, sinceMs: finding.sinceMs ?? seenMs, isAtLeast };
    });
  }
}
