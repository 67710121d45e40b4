/** The newest requests of the gateway that answers, and how many there were. */

import type { ReactNode } from "react";

import type { Api } from "./api.js";
import { useAsking } from "./asking.js";
import { Panel } from "./Panel.js";
import { clock, milliseconds, spoken } from "./words.js";
import type { ActivityRecord } from "./wire.js";

const EVERY_MS = 3_000;
const PATH = "/api/v1/activity/recent?limit=100";

export function ActivityPlace({ api }: { readonly api: Api }): ReactNode {
  const { answer, wrong, isMissing } = useAsking<{
    readonly events: readonly ActivityRecord[];
  }>(api, PATH, EVERY_MS);
  return (
    <Panel title="Requests" more="the newest of one gateway">
      {wrong === null ? null : (
        <p className="said-wrong" role="alert">
          {wrong}
        </p>
      )}
      {isMissing ? <p className="nothing">This gateway records no activity.</p> : null}
      {answer !== null && answer.events.length === 0 ? (
        <p className="nothing">Nothing was asked lately.</p>
      ) : null}
      {answer === null || answer.events.length === 0 ? null : (
        <div className="table-box" tabIndex={0} role="region" aria-label="Requests, a table">
          <table className="table">
            <thead>
              <tr>
                <th scope="col">At</th>
                <th scope="col">Request</th>
                <th scope="col">Kind</th>
                <th scope="col">Status</th>
                <th scope="col">Took</th>
              </tr>
            </thead>
            <tbody>
              {answer.events.map((record, index) => (
                <tr key={`${record.timestamp} ${index.toString()}`}>
                  <td>
                    <time dateTime={record.timestamp}>{clock(record.timestamp)}</time>
                  </td>
                  <th scope="row">
                    <code>{record.endpoint}</code>
                  </th>
                  <td>{spoken(record.event_type)}</td>
                  <td>
                    <em
                      className="tag"
                      data-tone={
                        record.status >= 500 ? "bad" : record.status >= 400 ? "warn" : "plain"
                      }
                    >
                      {record.status}
                    </em>{" "}
                    {record.metadata.problem ?? ""}
                  </td>
                  <td>{milliseconds(record.latency_ms)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </Panel>
  );
}
