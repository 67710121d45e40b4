/** What happens, as it happens: filtered, paused, bounded. */

import { useMemo, useState, type ReactNode } from "react";

import { Icon } from "../common/Icon.js";
import { FEED_TYPES, type Feed, type Told } from "./feed.js";
import { Panel } from "./Panel.js";
import { linkTo } from "./place.js";
import { clock, described, spoken } from "./words.js";

const GROUPS = {
  All: FEED_TYPES,
  Turns: ["turn_started", "turn_ended", "query_complete"],
  Approvals: ["approval_requested", "approval_given"],
  Workers: ["worker_joined", "worker_lost", "context_recovered"],
  Restarts: ["restart_requested", "restart_progress", "restart_complete"],
  Errors: ["error", "missed"],
} as const satisfies Record<string, readonly string[]>;
type Group = keyof typeof GROUPS;

interface FeedPanelProps {
  readonly feed: Feed;
  /** Of the newest announcement. */
  readonly seq: number;
}

export function FeedPanel({ feed, seq }: FeedPanelProps): ReactNode {
  const [group, setGroup] = useState<Group>("All");
  const [held, setHeld] = useState<{
    readonly seq: number;
    readonly told: readonly Told[];
  } | null>(null);
  const types = useMemo(() => new Set<string>(GROUPS[group]), [group]);
  const told =
    held === null ? feed.newest(types) : held.told.filter((each) => types.has(each.type));
  const missed = held === null ? 0 : seq - held.seq;
  return (
    <Panel
      title="Feed"
      className="feed-panel"
      tools={
        <button
          type="button"
          className="button button-tiny"
          aria-pressed={held !== null}
          onClick={() => {
            setHeld(held === null ? { seq, told: feed.newest(new Set(FEED_TYPES)) } : null);
          }}
        >
          <Icon name={held === null ? "pause" : "play"} />
          {held === null ? "Pause" : missed > 0 ? `Go on (${missed.toString()} new)` : "Go on"}
        </button>
      }
    >
      <div className="choices" role="group" aria-label="Show">
        {(Object.keys(GROUPS) as Group[]).map((each) => (
          <button
            key={each}
            type="button"
            aria-pressed={each === group}
            onClick={() => {
              setGroup(each);
            }}
          >
            {each}
          </button>
        ))}
      </div>
      {told.length === 0 ? (
        <p className="nothing">Nothing of that has happened lately.</p>
      ) : (
        <ol className="feed" tabIndex={0} aria-label="What has happened, the newest first">
          {told.map((each) => (
            <Row key={each.key} told={each} />
          ))}
        </ol>
      )}
    </Panel>
  );
}

function Row({ told }: { readonly told: Told }): ReactNode {
  const { words, tone, contextId } = described(told);
  return (
    <li data-type={told.type} data-tone={tone} data-seq={told.seq}>
      <time dateTime={told.at}>{clock(told.at)}</time>
      <span title={spoken(told.type)}>{words}</span>
      {contextId === null ? null : (
        <a
          href={linkTo("history", contextId)}
          aria-label={`Context ending in ${contextId.slice(-6)}`}
          title={contextId}
        >
          {contextId.slice(-6)}
        </a>
      )}
    </li>
  );
}
