/** How far a restart or drain has come, process by process. */

import type { ReactNode } from "react";

import { Icon } from "../common/Icon.js";
import { isDone, isWorthShowing, type FollowedRestart } from "./restart.js";
import { clock, span } from "./words.js";
import type { Known } from "./watcher.js";
import type { ProcessRestart, RestartReport } from "./wire.js";

interface RestartProgressProps {
  readonly restart: FollowedRestart;
  readonly known: Known;
}

export function RestartProgress({ restart, known }: RestartProgressProps): ReactNode {
  const { report, isOwn, dismiss } = restart;
  if (report === null) {
    if (!isOwn) return null;
    return (
      <section className="restart" aria-label="Restart">
        <h2>
          <span role="status">A restart was asked for…</span>
        </h2>
      </section>
    );
  }
  if (!isOwn && !isWorthShowing(report, known.nowMs)) return null;
  const done = report.supervisors.flatMap(({ processes }) => processes);
  const expected = Math.max(1, done.length + toDo(report, done, known));
  return (
    <section className="restart" data-status={report.status} aria-label="Restart">
      <header>
        <h2>
          <span role="status">{headline(report, done.length, expected)}</span>
        </h2>
        <small>asked for at {clock(report.requested_at_ms)}</small>
        {isDone(report) ? (
          <button
            type="button"
            className="button-icon button-small"
            aria-label="Close"
            onClick={dismiss}
          >
            <Icon name="close" />
          </button>
        ) : null}
      </header>
      <progress
        max={expected}
        value={isDone(report) ? expected : done.length}
        aria-label="Processes replaced"
      />
      <ol>
        {done.map((step) => (
          <li key={`${step.role} ${step.slot.toString()}`} data-outcome={step.outcome}>
            <Icon name={step.outcome === "not replaced" ? "warn" : "check"} />
            <b>
              {step.role} {step.process_id ?? ""}
            </b>
            <span>
              {step.outcome}
              {step.replaced_by === null ? "" : `, now ${step.replaced_by.toString()}`}
              {step.moved === null || step.moved === 0
                ? ""
                : `; ${step.moved.toString()} moved`}
            </span>
            <small>{span(step.duration_ms / 1_000)}</small>
          </li>
        ))}
      </ol>
    </section>
  );
}

function headline(report: RestartReport, done: number, expected: number): string {
  const what = report.kind === "drain" ? "Drain" : "Restart";
  if (report.status === "complete")
    return `${what} complete: ${done.toString()} ${done === 1 ? "process" : "processes"}`;
  if (report.status === "failed")
    return `${what} failed after ${done.toString()} of ${expected.toString()}`;
  return `${what} runs: ${done.toString()} of ${expected.toString()} processes`;
}

/** How many processes are older than the restart, and not replaced yet. */
function toDo(
  report: RestartReport,
  done: readonly ProcessRestart[],
  { stats }: Known,
): number {
  if (report.kind === "drain") return 0;
  const replaced = new Set(done.map(({ process_id }) => process_id));
  const old = (stats?.processes ?? []).filter(
    ({ role, process_id, started_at }) =>
      (report.scope === "all" || report.scope === `${role}s`) &&
      !replaced.has(process_id) &&
      Date.parse(started_at) < report.requested_at_ms,
  );
  return old.length;
}
