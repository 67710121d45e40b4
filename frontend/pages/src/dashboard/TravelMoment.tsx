/** One version of a context: the event, what it has changed, and the state after it. */

import type { ReactNode } from "react";

import type { Change, Json } from "./changes.js";
import { Panel } from "./Panel.js";
import type { Moment, State } from "./travel.js";
import { clock, count, spoken } from "./words.js";

const TEXT_MAX = 600;

interface TravelMomentProps {
  readonly moment: Moment;
  readonly onVersion: (version: number) => void;
}

export function TravelMoment({ moment, onVersion }: TravelMomentProps): ReactNode {
  const { version, entry, entries, state } = moment;
  return (
    <div className="travel" data-version={version}>
      <Panel title="Events" className="travel-events">
        <ol>
          {entries.map((each) => (
            <li key={each.version}>
              <button
                type="button"
                aria-current={each.version === version ? "step" : undefined}
                onClick={() => {
                  onVersion(each.version);
                }}
              >
                <small>{each.version}</small>
                <span>{spoken(each.event.kind)}</span>
                <time>{clock(each.event.at_ms)}</time>
              </button>
            </li>
          ))}
        </ol>
      </Panel>
      <div className="travel-side">
        <Panel
          title="What happened"
          more={entry === null ? "not kept" : spoken(entry.event.kind)}
        >
          {entry === null ? (
            <p className="nothing">The log was compacted up to here.</p>
          ) : (
            <details>
              <summary>The event</summary>
              <pre tabIndex={0}>{JSON.stringify(entry.event, null, 2)}</pre>
            </details>
          )}
          <Changes changes={moment.changes} />
        </Panel>
        <StatePanel state={state} />
      </div>
    </div>
  );
}

function Changes({ changes }: { readonly changes: readonly Change[] | null }): ReactNode {
  if (changes === null) return <p className="nothing">What was before is not kept.</p>;
  if (changes.length === 0)
    return <p className="nothing">It has changed nothing that is shown.</p>;
  return (
    <ul className="changes" aria-label="What changed">
      {changes.map(({ path, before, after }) => (
        <li key={path}>
          <code>{path}</code>
          {before === undefined ? null : <del>{written(before)}</del>}
          {after === undefined ? null : <ins>{written(after)}</ins>}
        </li>
      ))}
    </ul>
  );
}

function StatePanel({ state }: { readonly state: State }): ReactNode {
  const messages = listed(state["messages"]);
  const queue = listed(state["queue"]);
  const pending = listed(state["pending_tool_calls"]);
  return (
    <Panel
      title="The state then"
      more={typeof state["status"] === "string" ? spoken(state["status"]) : undefined}
    >
      <dl className="totals">
        <div>
          <dt>Title</dt>
          <dd>{written(state["title"] ?? "")}</dd>
        </div>
        <div>
          <dt>Branch</dt>
          <dd>{written(state["active_branch"] ?? "")}</dd>
        </div>
        <div>
          <dt>Messages</dt>
          <dd>{count(messages.length)}</dd>
        </div>
        <div>
          <dt>Waiting messages</dt>
          <dd>{count(queue.length)}</dd>
        </div>
        <div>
          <dt>Tools to approve</dt>
          <dd>{count(pending.length)}</dd>
        </div>
      </dl>
      <ol className="travel-messages">
        {messages.map((message, index) => (
          <li key={index} data-role={text(message, "role")}>
            <small>
              {text(message, "role")}, {text(message, "status")}
            </small>
            <p>{shortened(text(message, "content"))}</p>
          </li>
        ))}
      </ol>
      <details>
        <summary>All of it, as JSON</summary>
        <pre tabIndex={0}>{JSON.stringify(state, null, 2)}</pre>
      </details>
    </Panel>
  );
}

function listed(value: Json | undefined): readonly Json[] {
  return Array.isArray(value) ? (value as readonly Json[]) : [];
}

function text(value: Json, name: string): string {
  if (value === null || typeof value !== "object" || Array.isArray(value)) return "";
  const found = (value as Readonly<Record<string, Json>>)[name];
  return typeof found === "string" ? found : "";
}

function written(value: Json): string {
  return shortened(
    typeof value === "string" ? (value === "" ? "“”" : value) : JSON.stringify(value),
  );
}

function shortened(words: string): string {
  return words.length > TEXT_MAX ? `${words.slice(0, TEXT_MAX)}…` : words;
}
