/** Throughput and latencies of the last half hour. */

import { useMemo, type ReactNode } from "react";

import { Chart, type Line } from "./Chart.js";
import { columns, type Point } from "./history.js";
import { count, milliseconds, rate, TIMED_WORDS } from "./words.js";
import { TIMED, type Timed } from "./wire.js";

const THROUGHPUT: readonly Line[] = [
  { label: "actions", colour: "--accent", isFilled: true },
  { label: "turns", colour: "--code-title" },
];
const WAITING: readonly Line[] = [{ label: "waiting", colour: "--warn-dot", isFilled: true }];
const PERCENTILES: readonly Line[] = [
  { label: "p50", colour: "--accent", isFilled: true },
  { label: "p95", colour: "--code-title" },
  { label: "p99", colour: "--code-keyword" },
];

export function Charts({ points }: { readonly points: readonly Point[] }): ReactNode {
  const throughput = useMemo(
    () => columns(points, [(point) => point.actions_s, (point) => point.turns_s]),
    [points],
  );
  const waiting = useMemo(() => columns(points, [(point) => point.waiting]), [points]);
  return (
    <section className="charts" aria-label="The last half hour">
      <Chart
        title="Throughput a second"
        lines={THROUGHPUT}
        data={throughput}
        show={rate}
        finest={0.1}
      />
      <Chart title="Waiting actions" lines={WAITING} data={waiting} show={count} finest={1} />
      {TIMED.map((timed) => (
        <LatencyChart key={timed} timed={timed} points={points} />
      ))}
    </section>
  );
}

function LatencyChart({
  timed,
  points,
}: {
  readonly timed: Timed;
  readonly points: readonly Point[];
}): ReactNode {
  const data = useMemo(
    () =>
      columns(
        points,
        [0, 1, 2].map((index) => (point: Point) => point.latency[timed]?.[index] ?? null),
      ),
    [points, timed],
  );
  return (
    <Chart
      title={`${TIMED_WORDS[timed]} latency`}
      lines={PERCENTILES}
      data={data}
      show={milliseconds}
      finest={0.1}
    />
  );
}
