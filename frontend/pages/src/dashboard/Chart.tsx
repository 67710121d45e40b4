/** One chart; its newest values are written above it, for those who cannot see lines. */

import { useEffect, useRef, useState, type ReactNode } from "react";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";

import { HISTORY_S, type Column } from "./history.js";
import { clock } from "./words.js";

export interface Line {
  readonly label: string;
  /** The name of a colour of tokens.css. */
  readonly colour: string;
  readonly isFilled?: boolean;
}

interface ChartProps {
  readonly title: string;
  readonly lines: readonly Line[];
  /** Times in seconds, then a column for each line. */
  readonly data: readonly [readonly number[], ...Column[]];
  readonly show: (value: number) => string;
  /** The least difference that `show` tells, a power of ten: no finer is the axis. */
  readonly finest: number;
}

const HEIGHT = 132;
/** Appended to a colour of six hexadecimal digits, as tokens.css has them. */
const FILL_ALPHA = "24";
/** How much time is shown at least, however little is known yet. */
const SHOWN_S_MIN = 300;
/** How many powers of ten an axis may count by. */
const STEP_POWERS = 12;
const SYNC = "dashboard";
const HOUR_MINUTE = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });

export function Chart({ title, lines, data, show, finest }: ChartProps): ReactNode {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const latest = useRef(data);
  const [cursor, setCursor] = useState<number | null>(null);
  useEffect(() => {
    const element = box.current;
    if (element === null) return;
    const draw = (): void => {
      plot.current?.destroy();
      plot.current = new uPlot(
        options(element, lines, show, finest, setCursor),
        mutable(latest.current),
        element,
      );
    };
    draw();
    const resized = new ResizeObserver(() => {
      plot.current?.setSize({ width: element.clientWidth, height: HEIGHT });
    });
    resized.observe(element);
    const themed = new MutationObserver(draw);
    themed.observe(document.documentElement, { attributeFilter: ["data-theme"] });
    const dark = matchMedia("(prefers-color-scheme: dark)");
    dark.addEventListener("change", draw);
    return () => {
      resized.disconnect();
      themed.disconnect();
      dark.removeEventListener("change", draw);
      plot.current?.destroy();
      plot.current = null;
    };
  }, [lines, show, finest]);
  useEffect(() => {
    latest.current = data;
    plot.current?.setData(mutable(data));
  }, [data]);

  const [times, ...values] = data;
  const at = cursor !== null && cursor < times.length ? cursor : times.length - 1;
  const read = lines.map((line, index) => {
    const value = values[index]?.[at];
    return { ...line, shown: value === null || value === undefined ? "–" : show(value) };
  });
  const time = times[at];
  return (
    <figure className="chart">
      <figcaption>
        <b>{title}</b>
        <small>{cursor === null || time === undefined ? "now" : clock(time * 1_000)}</small>
        <ul>
          {read.map(({ label, colour, shown }) => (
            <li key={label} data-colour={colour.slice(2)}>
              <i aria-hidden="true" />
              {label} <b>{shown}</b>
            </li>
          ))}
        </ul>
      </figcaption>
      <div ref={box} className="chart-box" aria-hidden="true" />
    </figure>
  );
}

/** What an axis may count by: 1, 2 and 5 of each power of ten. */
const steps = (finest: number): number[] =>
  Array.from({ length: STEP_POWERS }, (_, power) => finest * 10 ** power).flatMap((ten) => [
    ten,
    2 * ten,
    5 * ten,
  ]);

function options(
  element: HTMLElement,
  lines: readonly Line[],
  show: (value: number) => string,
  finest: number,
  onCursor: (index: number | null) => void,
): uPlot.Options {
  const style = getComputedStyle(document.documentElement);
  const colour = (name: string): string => style.getPropertyValue(name).trim();
  const axis = {
    stroke: colour("--ink-faint"),
    font: `11px ${style.getPropertyValue("--sans")}`,
    ticks: { show: false },
    grid: { stroke: colour("--line"), width: 1 },
  };
  return {
    width: element.clientWidth,
    height: HEIGHT,
    padding: [8, 8, 0, 0],
    legend: { show: false },
    cursor: {
      y: false,
      drag: { x: false, y: false },
      sync: { key: SYNC },
      points: { size: 6 },
    },
    hooks: {
      setCursor: [
        (chart) => {
          onCursor(chart.cursor.idx ?? null);
        },
      ],
    },
    scales: {
      x: { time: true, range: (_chart, min, max) => [max - shownS(max - min), max] },
      y: { range: (_chart, _min, max) => [0, max > 0 ? Math.max(finest, max * 1.15) : 1] },
    },
    axes: [
      {
        ...axis,
        grid: { show: false },
        size: 26,
        space: 70,
        values: (_chart, times) => times.map((time) => HOUR_MINUTE.format(time * 1_000)),
      },
      {
        ...axis,
        size: 56,
        space: 34,
        incrs: steps(finest),
        values: (_chart, values) => values.map(show),
      },
    ],
    series: [
      {},
      ...lines.map((line) => ({
        label: line.label,
        stroke: colour(line.colour),
        width: 1.5,
        points: { show: false },
        ...(line.isFilled === true ? { fill: `${colour(line.colour)}${FILL_ALPHA}` } : {}),
      })),
    ],
  };
}

function shownS(knownS: number): number {
  return Math.min(HISTORY_S, Math.max(SHOWN_S_MIN, knownS));
}

function mutable(data: ChartProps["data"]): uPlot.AlignedData {
  return data.map((column) => [...column]) as unknown as uPlot.AlignedData;
}
