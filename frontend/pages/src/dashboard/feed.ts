/**
 * The newest announcements: a bounded number of each type, so that traffic drowns no error.
 *
 * An announcement is taken once, by its number; one that comes again changes nothing.
 */

import { ANNOUNCED, type Message } from "./wire.js";

/** How many are kept of each type. */
export const KEPT_PER_TYPE = 100;
/** How many are shown at once. */
export const SHOWN_MAX = 200;

/** Something in the feed; `missed`: the server no longer has what was announced in between. */
export interface Told {
  readonly key: string;
  readonly type: string;
  readonly at: string;
  readonly seq: number;
  readonly data: Readonly<Record<string, unknown>>;
}

export const MISSED = "missed";
export const FEED_TYPES: readonly string[] = [...ANNOUNCED, MISSED];

export class Feed {
  readonly #kept = new Map<string, Told[]>();
  #seq = 0;
  #round = 0;

  /** Number of the newest announcement that was taken. */
  get seq(): number {
    return this.#seq;
  }

  /** How many are held, of all types. */
  get size(): number {
    let size = 0;
    for (const told of this.#kept.values()) size += told.length;
    return size;
  }

  /** Take what was announced; false: it is there already, or is of no known type. */
  take({ type, seq, timestamp, data }: Message): boolean {
    if (seq <= this.#seq) return false;
    this.#seq = seq;
    if (!FEED_TYPES.includes(type)) return false;
    this.#keep({ key: this.#key(seq, type), type, at: timestamp, seq, data });
    return true;
  }

  /** Note that some numbers will never come. */
  miss(fromSeq: number, toSeq: number, at: string): void {
    if (toSeq <= this.#seq) return;
    const data = { from_seq: Math.max(fromSeq, this.#seq + 1), to_seq: toSeq };
    this.#seq = toSeq;
    this.#keep({ key: this.#key(toSeq, MISSED), type: MISSED, at, seq: toSeq, data });
  }

  /** The store counts anew, behind this number; what was told stays. */
  renumber(seq: number): void {
    this.#seq = seq;
    this.#round += 1;
  }

  /** The newest of these types, the newest first. */
  newest(types: ReadonlySet<string>, max = SHOWN_MAX): readonly Told[] {
    const found = [...types].flatMap((type) => this.#kept.get(type) ?? []);
    return found.sort((a, b) => compareRounds(a, b) || b.seq - a.seq).slice(0, max);
  }

  #key(seq: number, type: string): string {
    return `${this.#round.toString()}.${seq.toString()}.${type}`;
  }

  #keep(told: Told): void {
    const kept = this.#kept.get(told.type) ?? [];
    this.#kept.set(told.type, [...kept.slice(1 - KEPT_PER_TYPE), told]);
  }
}

function compareRounds(a: Told, b: Told): number {
  return parseInt(b.key, 10) - parseInt(a.key, 10);
}
