/** All that the page knows, as one value that is renewed a few times a second at most. */

import type { Api } from "./api.js";
import { Feed } from "./feed.js";
import {
  findings,
  TROUBLE_MS,
  Watch,
  type LinkState,
  type Noted,
  type Trouble,
} from "./findings.js";
import { History, type Point } from "./history.js";
import { Link, type Socket } from "./link.js";
import type { Message, Stats } from "./wire.js";

/** How often the page is renewed at most. */
export const RENEW_MS = 200;
/** How often it is renewed at least: ages go on. */
export const TICK_MS = 1_000;
/** Errors and lost workers that are remembered. */
export const TROUBLES_MAX = 200;

export interface Known {
  readonly stats: Stats | null;
  readonly link: LinkState;
  readonly points: readonly Point[];
  readonly feed: Feed;
  readonly findings: readonly Noted[];
  readonly wellSinceMs: number | null;
  /** Of the restart that was announced last. */
  readonly restartId: string | null;
  readonly nowMs: number;
}

export interface WatcherOptions {
  readonly api: Api;
  readonly openSocket: (path: string) => Socket;
  readonly after: (ms: number, call: () => void) => () => void;
  readonly now: () => number;
  readonly random: () => number;
}

export class Watcher {
  readonly #options: WatcherOptions;
  readonly #feed = new Feed();
  readonly #history = new History();
  readonly #watch: Watch;
  readonly #link: Link;
  readonly #listeners = new Set<() => void>();
  #stats: Stats | null = null;
  #state: LinkState = "connecting";
  #heardMs: number;
  #troubles: readonly Trouble[] = [];
  #restartId: string | null = null;
  #known: Known;
  #callOffRenewal: (() => void) | null = null;
  #callOffTick = (): void => undefined;

  constructor(options: WatcherOptions) {
    this.#options = options;
    this.#heardMs = options.now();
    this.#watch = new Watch(options.now());
    this.#link = new Link({
      ...options,
      feed: this.#feed,
      onStats: (stats) => {
        this.#take(stats);
      },
      onTold: (message) => {
        this.#told(message);
      },
      onState: (state) => {
        this.#state = state;
        this.#soon();
      },
    });
    this.#known = this.#renewed();
  }

  start(): void {
    this.#link.start();
    this.#tick();
  }

  stop(): void {
    this.#link.stop();
    this.#callOffRenewal?.();
    this.#callOffTick();
  }

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  readonly known = (): Known => this.#known;

  #take(stats: Stats): void {
    this.#stats = stats;
    this.#heardMs = this.#options.now();
    this.#history.take(stats);
    this.#soon();
  }

  #told({ type, data, timestamp }: Message): void {
    if (type === "restart_requested") this.#restartId = String(data["restart_id"]);
    if (type === "error" || (type === "worker_lost" && data["cause"] === "died")) {
      const trouble = {
        type,
        name: type === "error" ? String(data["error"]) : "",
        atMs: Date.parse(timestamp),
      };
      this.#troubles = [...this.#troubles.slice(1 - TROUBLES_MAX), trouble];
    }
    this.#soon();
  }

  #tick(): void {
    this.#callOffTick = this.#options.after(TICK_MS, () => {
      this.#soon();
      this.#tick();
    });
  }

  #soon(): void {
    this.#callOffRenewal ??= this.#options.after(RENEW_MS, () => {
      this.#callOffRenewal = null;
      this.#known = this.#renewed();
      for (const listener of this.#listeners) listener();
    });
  }

  #renewed(): Known {
    const nowMs = this.#options.now();
    this.#troubles = this.#troubles.filter(({ atMs }) => nowMs - atMs <= TROUBLE_MS);
    const found = findings(this.#stats, this.#state, this.#troubles, {
      ms: nowMs,
      heardMs: this.#heardMs,
    });
    const noted = this.#watch.note(found, nowMs);
    return {
      stats: this.#stats,
      link: this.#state,
      points: this.#history.points,
      feed: this.#feed,
      findings: noted,
      wellSinceMs: this.#stats === null ? null : this.#watch.wellSinceMs,
      restartId: this.#restartId,
      nowMs,
    };
  }
}
