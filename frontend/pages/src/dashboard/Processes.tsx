/** Gateways and workers: what each has at work, and how it feels. */

import type { ReactNode } from "react";

import { SILENT_S_WARN } from "./findings.js";
import { Panel } from "./Panel.js";
import { bytes, count, milliseconds, span, spoken } from "./words.js";
import type { ProcessStats, Stats } from "./wire.js";

interface ProcessesProps {
  readonly stats: Stats;
  readonly onDrain: (process: ProcessStats) => void;
}

export function Processes({ stats, onDrain }: ProcessesProps): ReactNode {
  const processes = [...stats.processes].sort(
    (a, b) => a.role.localeCompare(b.role) || a.id.localeCompare(b.id),
  );
  return (
    <Panel title="Processes" more={`${count(processes.length)} report`}>
      <div className="table-box" tabIndex={0} role="region" aria-label="Processes, a table">
        <table className="table">
          <thead>
            <tr>
              <th scope="col">Process</th>
              <th scope="col">At work</th>
              <th scope="col">CPU</th>
              <th scope="col">Lag</th>
              <th scope="col">Memory</th>
              <th scope="col">Age</th>
              <th scope="col">
                <span className="hidden-text">What to do</span>
              </th>
            </tr>
          </thead>
          <tbody>
            {processes.map((process) => (
              <Row key={process.id} process={process} onDrain={onDrain} />
            ))}
          </tbody>
        </table>
      </div>
    </Panel>
  );
}

function Row({
  process,
  onDrain,
}: {
  readonly process: ProcessStats;
  readonly onDrain: (process: ProcessStats) => void;
}): ReactNode {
  const { id, role, host, process_id, draining, silent_s, cpu, lag_ms } = process;
  const work = Object.entries(process.load).filter(([, number]) => number > 0);
  return (
    <tr data-process={id} data-draining={draining}>
      <th scope="row">
        <b>{role}</b> <code>{process_id}</code> <small>{host}</small>
        {draining ? <em className="tag">draining</em> : null}
        {silent_s >= SILENT_S_WARN ? (
          <em className="tag" data-tone="warn">
            silent for {span(silent_s)}
          </em>
        ) : null}
      </th>
      <td>
        {work.length === 0
          ? "nothing"
          : work
              .map(
                ([name, number]) => `${count(number)} ${spoken(name).replace(/^viewers /, "")}`,
              )
              .join(", ")}
      </td>
      <td>
        <span className="gauge">
          <meter
            min={0}
            max={1}
            high={0.8}
            value={Math.min(1, cpu)}
            aria-label={`CPU of ${role} ${process_id.toString()}`}
          />
          {Math.round(cpu * 100)} %
        </span>
      </td>
      <td>{milliseconds(lag_ms)}</td>
      <td>{bytes(process.memory_bytes)}</td>
      <td>{span(process.age_s)}</td>
      <td>
        <button
          type="button"
          className="button button-tiny"
          disabled={draining}
          aria-label={`Drain ${role} ${process_id.toString()}`}
          onClick={() => {
            onDrain(process);
          }}
        >
          Drain
        </button>
      </td>
    </tr>
  );
}
