/**
 * The list of contexts, as far as it is known.
 *
 * The gateway has it by ids, newest first, a page at a time. The first page is asked for again
 * and again, and with it the older ones in turn; a page takes the place of all that was known
 * between its ends. So a context that is made, renamed or deleted is shown as it is, wherever
 * it lies, and none is lost in between.
 */

import type { ChatPage, ContextSummary } from "@contextd/client";

import { troubleOf } from "./words.js";

export const PACE_MS = 2_000;
export const PACE_MS_MAX = 10_000;
/** So many times unchanged, and the list is asked for half as often. */
const UNCHANGED_MAX = 5;
/** Older ones are not listed. */
export const LISTED_MAX = 2_000;

/** A context of which the gateway can tell nothing but that it is there. */
export interface Unreadable {
  readonly id: string;
  readonly status: "unreadable";
}

export type ListEntry = ContextSummary | Unreadable;

export interface Listed {
  /** Newest first; null before anybody has answered. */
  readonly contexts: readonly ListEntry[] | null;
  /** Whether it was read to its end, or to `LISTED_MAX`. */
  readonly isWhole: boolean;
  /** Why it could not be asked for, in words; null: it could. */
  readonly trouble: string | null;
}

export interface ListingOptions {
  /** The page behind an id; undefined: the first one. */
  readonly page: (after: string | undefined) => Promise<ChatPage>;
  /** Call later; what is returned calls it off. */
  readonly after: (ms: number, call: () => void) => () => void;
  /** Whether nobody looks; then nothing is asked for. */
  readonly isHidden: () => boolean;
}

export class Listing {
  readonly #options: ListingOptions;
  readonly #listeners = new Set<() => void>();
  #listed: Listed = { contexts: null, isWhole: false, trouble: null };
  /** Behind which id the next older page begins; null: behind the first page. */
  #older: string | null = null;
  /** Contexts of which something is known to have changed. */
  readonly #changed = new Set<string>();
  #isStopped = true;
  #isAsking = false;
  #isWanted = false;
  #paceMs = PACE_MS;
  #unchanged = 0;
  #callOff = (): void => undefined;

  constructor(options: ListingOptions) {
    this.#options = options;
  }

  readonly listed = (): Listed => this.#listed;

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  start(): void {
    this.#isStopped = false;
    this.refresh();
  }

  stop(): void {
    this.#isStopped = true;
    this.#callOff();
  }

  /** Ask now: for the newest, and for one that has changed, wherever in the list it lies. */
  readonly refresh = (chatId?: string): void => {
    if (chatId !== undefined) this.#changed.add(chatId);
    this.#callOff();
    if (this.#isStopped || this.#options.isHidden()) return;
    this.#paceMs = PACE_MS;
    this.#unchanged = 0;
    void this.#ask();
  };

  async #ask(): Promise<void> {
    if (this.#isAsking) {
      this.#isWanted = true;
      return;
    }
    this.#isAsking = true;
    const before = this.#listed.contexts;
    try {
      await this.#round();
      this.#become({ trouble: null });
    } catch (error) {
      this.#become({ trouble: troubleOf(error) });
    }
    this.#isAsking = false;
    if (this.#listed.contexts === before) this.#unchanged += 1;
    else [this.#unchanged, this.#paceMs] = [0, PACE_MS];
    if (this.#unchanged >= UNCHANGED_MAX) {
      this.#unchanged = 0;
      this.#paceMs = Math.min(this.#paceMs * 2, PACE_MS_MAX);
    }
    const waitMs = this.#isWanted ? 0 : this.#paceMs;
    this.#isWanted = false;
    this.#callOff();
    if (this.#isOff()) return;
    this.#callOff = this.#options.after(waitMs, () => void this.#ask());
  }

  /** The first page, what has changed elsewhere, and older ones: one, or all at first. */
  async #round(): Promise<void> {
    const first = await this.#read(null);
    for (const chatId of this.#changed) {
      if (first !== null && chatId < first) {
        const newer = this.#listed.contexts?.findLast(({ id }) => id > chatId);
        await this.#read(newer?.id ?? null);
      }
      this.#changed.delete(chatId);
    }
    if (first === null) return;
    do this.#older = await this.#read(this.#older ?? first);
    while (!this.#listed.isWhole && !this.#isOff());
  }

  /** Read the page behind an id; the id behind which the next one begins, if there is one. */
  async #read(after: string | null): Promise<string | null> {
    const page = await this.#options.page(after ?? undefined);
    const { next } = page;
    const contexts = entriesOf(page);
    const known = this.#listed.contexts ?? [];
    const newer = known.filter(({ id }) => after !== null && id >= after);
    const older = known.filter(({ id }) => next !== null && id < next);
    const replaced = known.slice(newer.length, known.length - older.length);
    const isSame =
      this.#listed.contexts !== null && JSON.stringify(replaced) === JSON.stringify(contexts);
    const all = isSame ? known : [...newer, ...contexts, ...older].slice(0, LISTED_MAX);
    const last = all.at(-1)?.id ?? "";
    const isEnd = next === null || (all.length === LISTED_MAX && last >= next);
    const isWhole = this.#listed.isWhole || isEnd;
    if (!isSame || isWhole !== this.#listed.isWhole) this.#become({ contexts: all, isWhole });
    return isEnd ? null : next;
  }

  /** It may change while something is awaited. */
  #isOff(): boolean {
    return this.#isStopped || this.#options.isHidden();
  }

  #become(change: Partial<Listed>): void {
    const names = Object.keys(change) as readonly (keyof Listed)[];
    if (names.every((name) => change[name] === this.#listed[name])) return;
    this.#listed = { ...this.#listed, ...change };
    for (const listener of this.#listeners) listener();
  }
}

/** A page in its order, by ids: in the answer, what cannot be opened stands beside the others. */
function entriesOf({ contexts, unreadable }: ChatPage): readonly ListEntry[] {
  const lost = unreadable.map((id): Unreadable => ({ id, status: "unreadable" }));
  return [...contexts, ...lost].sort((one, other) => (one.id < other.id ? 1 : -1));
}
