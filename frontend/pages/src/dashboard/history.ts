/** What the charts show: the numbers of the last half hour, in columns; a hole stays a hole. */

import { TIMED, type Stats, type Timed } from "./wire.js";

export const HISTORY_S = 1_800;
/** Never more points than this, however often statistics come. */
export const POINTS_MAX = 720;
/** Points further apart than this are not joined. */
export const HOLE_S = 20;

export interface Point {
  /** Unix time in seconds. */
  readonly at_s: number;
  readonly actions_s: number;
  readonly turns_s: number;
  readonly waiting: number;
  /** p50, p95, p99 in milliseconds; null: nothing was timed. */
  readonly latency: Readonly<Record<Timed, readonly [number, number, number] | null>>;
}

export type Column = readonly (number | null)[];

export class History {
  #points: readonly Point[] = [];

  get points(): readonly Point[] {
    return this.#points;
  }

  /** Take statistics; those that are not newer than the last change nothing. */
  take(stats: Stats): void {
    const point = pointOf(stats);
    const last = this.#points.at(-1);
    if (last !== undefined && point.at_s <= last.at_s) return;
    const kept = this.#points.filter((each) => each.at_s > point.at_s - HISTORY_S);
    this.#points = [...kept.slice(1 - POINTS_MAX), point];
  }
}

/** Times, and a column for each reading, with an empty row in every hole. */
export function columns(
  points: readonly Point[],
  readings: readonly ((point: Point) => number | null)[],
): readonly [readonly number[], ...Column[]] {
  const rows: (Point | number)[] = [];
  let before: Point | undefined;
  for (const point of points) {
    if (before !== undefined && point.at_s - before.at_s > HOLE_S) rows.push(before.at_s + 1);
    rows.push(point);
    before = point;
  }
  return [
    rows.map((row) => (typeof row === "number" ? row : row.at_s)),
    ...readings.map((read) => rows.map((row) => (typeof row === "number" ? null : read(row)))),
  ];
}

function pointOf(stats: Stats): Point {
  const latency = Object.fromEntries(
    TIMED.map((timed) => {
      const { count, p50_ms, p95_ms, p99_ms } = stats.latency[timed];
      return [timed, count === 0 ? null : [p50_ms, p95_ms, p99_ms]];
    }),
  ) as Point["latency"];
  return {
    at_s: Date.parse(stats.at) / 1_000,
    actions_s: stats.actions.per_s,
    turns_s: stats.turns.per_s,
    waiting: stats.mailbox.waiting,
    latency,
  };
}
