/** Contexts to which something is to happen, those that do not move first to be seen. */

import { useState, type ReactNode } from "react";

import type { Api } from "./api.js";
import { useAsking } from "./asking.js";
import { Panel } from "./Panel.js";
import { linkTo } from "./place.js";
import { clock, count, span, spoken } from "./words.js";
import type { Glance } from "./wire.js";

const EVERY_MS = 3_000;
const CHOICES = {
  "At work": "",
  "Stuck or slow": "&stuck=true&slow=true",
  Failed: "&status=failed&all=true",
} as const;
type Choice = keyof typeof CHOICES;

interface ContextsPlaceProps {
  readonly api: Api;
  readonly nowMs: number;
}

export function ContextsPlace({ api, nowMs }: ContextsPlaceProps): ReactNode {
  const [choice, setChoice] = useState<Choice>("At work");
  const path = `/admin/contexts?limit=100${CHOICES[choice]}`;
  const { answer, wrong, isMissing } = useAsking<{
    readonly contexts: readonly Glance[];
    readonly complete: boolean;
  }>(api, path, EVERY_MS);
  return (
    <Panel title="Contexts" more={answer?.complete === false ? "there are more" : undefined}>
      <div className="choices" role="group" aria-label="Show">
        {(Object.keys(CHOICES) as Choice[]).map((each) => (
          <button
            key={each}
            type="button"
            aria-pressed={each === choice}
            onClick={() => {
              setChoice(each);
            }}
          >
            {each}
          </button>
        ))}
      </div>
      {wrong === null ? null : (
        <p className="said-wrong" role="alert">
          {wrong}
        </p>
      )}
      {isMissing ? (
        <p className="nothing">
          This gateway does not list contexts. Those at work are counted in the overview.
        </p>
      ) : null}
      {answer?.contexts.length === 0 ? <p className="nothing">None.</p> : null}
      {answer === null || answer.contexts.length === 0 ? null : (
        <div className="table-box" tabIndex={0} role="region" aria-label="Contexts, a table">
          <table className="table">
            <thead>
              <tr>
                <th scope="col">Context</th>
                <th scope="col">Phase</th>
                <th scope="col">Waits</th>
                <th scope="col">Mail</th>
                <th scope="col">Worker</th>
                <th scope="col">Changed</th>
              </tr>
            </thead>
            <tbody>
              {answer.contexts.map((glance) => (
                <Row key={glance.id} glance={glance} nowMs={nowMs} />
              ))}
            </tbody>
          </table>
        </div>
      )}
    </Panel>
  );
}

function Row({
  glance,
  nowMs,
}: {
  readonly glance: Glance;
  readonly nowMs: number;
}): ReactNode {
  const waits =
    glance.waits_since === null ? null : (nowMs - Date.parse(glance.waits_since)) / 1_000;
  return (
    <tr>
      <th scope="row">
        <a href={linkTo("history", glance.id)}>
          <code>{glance.id}</code>
        </a>{" "}
        <small>{glance.owner}</small>
        {glance.trouble === null ? null : (
          <em className="tag" data-tone={glance.trouble === "stuck" ? "bad" : "warn"}>
            {glance.trouble}
          </em>
        )}
      </th>
      <td>{spoken(glance.status)}</td>
      <td>{waits === null ? "–" : span(waits)}</td>
      <td>{count(glance.mail)}</td>
      <td>{glance.worker ?? "none"}</td>
      <td>
        {glance.changed_at === null ? (
          "–"
        ) : (
          <time dateTime={glance.changed_at}>{clock(glance.changed_at)}</time>
        )}
      </td>
    </tr>
  );
}
