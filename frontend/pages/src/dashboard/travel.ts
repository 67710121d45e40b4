/** A context's past: states and events by version, read as needed and kept while they fit. */

import { Refused, type Api } from "./api.js";
import { changes, type Change, type Json } from "./changes.js";
import type { LogEntry } from "./wire.js";

/** Events are read so many at a time. */
export const PAGE = 20;
/** States, and pages of events, that are kept. */
export const KEPT_MAX = 32;

export type State = Readonly<Record<string, Json>>;

export interface Moment {
  readonly version: number;
  readonly state: State;
  /** Null: the log was compacted here. */
  readonly entry: LogEntry | null;
  /** Events around it. */
  readonly entries: readonly LogEntry[];
  /** What the event has changed; null: what was before is not kept. */
  readonly changes: readonly Change[] | null;
}

export interface Range {
  readonly first: number;
  readonly last: number;
}

export class Past {
  readonly #api: Api;
  readonly #path: string;
  readonly #states = new Map<number, State>();
  readonly #pages = new Map<number, readonly LogEntry[]>();

  constructor(api: Api, contextId: string) {
    this.#api = api;
    this.#path = `/api/contexts/${encodeURIComponent(contextId)}`;
  }

  /** Which versions there are. */
  async range(signal: AbortSignal): Promise<Range> {
    const { version } = await this.#api.get<{ readonly version: number }>(
      `${this.#path}/state?messages=1`,
      signal,
    );
    this.#pages.clear(); // the last of them was perhaps not full
    return { first: await this.#first(signal), last: version };
  }

  /** The context as it was. */
  async moment(version: number, range: Range, signal: AbortSignal): Promise<Moment> {
    const [state, before, entries] = await Promise.all([
      this.#state(version, signal),
      version > range.first ? this.#state(version - 1, signal) : null,
      this.#page(version, range, signal),
    ]);
    const entry = entries.find((each) => each.version === version) ?? null;
    const was = before ?? (version === 1 ? {} : null);
    return {
      version,
      state,
      entry,
      entries,
      changes: was === null ? null : changes(was, state),
    };
  }

  async #first(signal: AbortSignal): Promise<number> {
    try {
      await this.#state(1, signal);
      return 1;
    } catch (error) {
      if (error instanceof Refused && error.status === 410)
        return error.problem.first_version ?? 1;
      throw error;
    }
  }

  async #state(version: number, signal: AbortSignal): Promise<State> {
    return keep(this.#states, version, async () => {
      const path = `${this.#path}/state?at_version=${version.toString()}`;
      return (await this.#api.get<{ readonly context: State }>(path, signal)).context;
    });
  }

  async #page(
    version: number,
    { first }: Range,
    signal: AbortSignal,
  ): Promise<readonly LogEntry[]> {
    const page = Math.floor((version - 1) / PAGE);
    return keep(this.#pages, page, async () => {
      const after = Math.max(page * PAGE, first - 1);
      const path = `${this.#path}/log?after=${after.toString()}&limit=${PAGE.toString()}`;
      return (await this.#api.get<{ readonly events: readonly LogEntry[] }>(path, signal))
        .events;
    });
  }
}

/** Look it up, or read it and forget the one that was read first. */
async function keep<T>(kept: Map<number, T>, name: number, read: () => Promise<T>): Promise<T> {
  const there = kept.get(name);
  if (there !== undefined) return there;
  const found = await read();
  kept.set(name, found);
  const [eldest] = kept.keys();
  if (kept.size > KEPT_MAX && eldest !== undefined) kept.delete(eldest);
  return found;
}
