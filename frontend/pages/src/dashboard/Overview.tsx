/** Numbers, charts, phases, processes, and what happens. */

import type { ReactNode } from "react";

import { Charts } from "./Charts.js";
import { FeedPanel } from "./FeedPanel.js";
import { Panel } from "./Panel.js";
import { Processes } from "./Processes.js";
import { bytes, clock, count, rate, span, spoken } from "./words.js";
import type { Known } from "./watcher.js";
import type { ProcessStats, Stats } from "./wire.js";

interface OverviewProps {
  readonly known: Known;
  readonly onDrain: (process: ProcessStats) => void;
}

export function Overview({ known, onDrain }: OverviewProps): ReactNode {
  const { stats } = known;
  return (
    <div className="overview">
      <div className="overview-main">
        <Numbers stats={stats} />
        <Charts points={known.points} />
        {stats === null ? null : (
          <>
            <Processes stats={stats} onDrain={onDrain} />
            <Totals stats={stats} />
          </>
        )}
      </div>
      <div className="overview-side">
        {stats === null ? null : <Phases stats={stats} />}
        <FeedPanel feed={known.feed} seq={known.feed.seq} />
      </div>
    </div>
  );
}

interface NumberProps {
  readonly name: string;
  readonly label: string;
  readonly value: number | null;
  readonly shown: string;
  readonly more: string;
  readonly isBad?: boolean;
}

function Figure({ name, label, value, shown, more, isBad = false }: NumberProps): ReactNode {
  return (
    <div className="figure" data-bad={isBad}>
      <dt>{label}</dt>
      <dd>
        <b data-stat={name} data-value={value}>
          {shown}
        </b>
        <small>{more}</small>
      </dd>
    </div>
  );
}

function Numbers({ stats }: { readonly stats: Stats | null }): ReactNode {
  const viewers =
    stats === null ? 0 : stats.viewers.sse + stats.viewers.websocket + stats.viewers.long_poll;
  const errors =
    stats === null ? 0 : Object.values(stats.errors).reduce((sum, each) => sum + each, 0);
  const is = (read: (stats: Stats) => number): number | null =>
    stats === null ? null : read(stats);
  const say = (write: (stats: Stats) => string): string =>
    stats === null ? "–" : write(stats);
  return (
    <dl className="figures" aria-label="Now">
      <Figure
        name="contexts.total"
        label="Contexts"
        value={is((s) => s.contexts.total)}
        shown={say((s) => count(s.contexts.total))}
        more={say((s) => `${count(s.turns.running)} in a turn`)}
      />
      <Figure
        name="mailbox.waiting"
        label="Waiting actions"
        value={is((s) => s.mailbox.waiting)}
        shown={say((s) => count(s.mailbox.waiting))}
        more={say((s) =>
          s.mailbox.oldest_s > 0 ? `for up to ${span(s.mailbox.oldest_s)}` : "none is late",
        )}
      />
      <Figure
        name="actions.per_s"
        label="Actions a second"
        value={is((s) => s.actions.per_s)}
        shown={say((s) => rate(s.actions.per_s))}
        more={say((s) => `${count(s.actions.applied)} applied`)}
      />
      <Figure
        name="turns.per_s"
        label="Turns a second"
        value={is((s) => s.turns.per_s)}
        shown={say((s) => rate(s.turns.per_s))}
        more={say((s) => `${count(s.turns.ended.completed)} completed`)}
      />
      <Figure
        name="viewers"
        label="Viewers"
        value={stats === null ? null : viewers}
        shown={say(() => count(viewers))}
        more={say(
          (s) =>
            `and ${count(s.viewers.dashboard)} ${s.viewers.dashboard === 1 ? "dashboard" : "dashboards"}`,
        )}
      />
      <Figure
        name="errors"
        label="Refused, failed"
        value={stats === null ? null : errors}
        shown={say(() => count(errors))}
        more={say((s) => (s.since === null ? "" : `since ${clock(s.since)}`))}
      />
      <Figure
        name="dead_letters"
        label="Dead letters"
        value={is((s) => s.dead_letters)}
        shown={say((s) => count(s.dead_letters))}
        more={say((s) => (s.dead_letters === 0 ? "none" : "wait for you"))}
        isBad={(stats?.dead_letters ?? 0) > 0}
      />
    </dl>
  );
}

const PHASE_TONES: Readonly<Record<string, string>> = {
  idle: "rest",
  paused: "rest",
  failed: "bad",
  transient_failure: "warn",
  awaiting_tool_approval: "warn",
  awaiting_answer: "warn",
};

function Phases({ stats }: { readonly stats: Stats }): ReactNode {
  const phases = Object.entries(stats.contexts.by_phase).sort(([, a], [, b]) => b - a);
  const most = Math.max(1, ...phases.map(([, number]) => number));
  return (
    <Panel title="Contexts by phase">
      {phases.length === 0 ? (
        <p className="nothing">There are no contexts yet.</p>
      ) : (
        <ul className="phases">
          {phases.map(([phase, number]) => (
            <li key={phase} data-tone={PHASE_TONES[phase] ?? "work"}>
              <span>{spoken(phase)}</span>
              <b data-stat={`contexts.by_phase.${phase}`} data-value={number}>
                {count(number)}
              </b>
              <meter min={0} max={most} value={number} aria-label={spoken(phase)} />
            </li>
          ))}
        </ul>
      )}
    </Panel>
  );
}

function Totals({ stats }: { readonly stats: Stats }): ReactNode {
  const errors = Object.entries(stats.errors).sort(([, a], [, b]) => b - a);
  const { saves, store, turns, actions, contexts, announcements } = stats;
  const rows: readonly (readonly [string, number, string, string])[] = [
    ["actions.delivered", actions.delivered, "Actions delivered", count(actions.delivered)],
    ["actions.refused", actions.refused, "Actions refused", count(actions.refused)],
    ["turns.started", turns.started, "Turns started", count(turns.started)],
    ["turns.ended.failed", turns.ended.failed, "Turns failed", count(turns.ended.failed)],
    [
      "turns.ended.cancelled",
      turns.ended.cancelled,
      "Turns cancelled",
      count(turns.ended.cancelled),
    ],
    ["contexts.created", contexts.created, "Contexts created", count(contexts.created)],
    ["contexts.deleted", contexts.deleted, "Contexts deleted", count(contexts.deleted)],
    [
      "saves.commits",
      saves.commits,
      "Commits",
      `${count(saves.commits)} (${bytes(saves.bytes)})`,
    ],
    ["saves.snapshots", saves.snapshots, "Snapshots", count(saves.snapshots)],
    ["saves.skipped_clean", saves.skipped_clean, "Saves spared", count(saves.skipped_clean)],
    ["announcements.seq", announcements.seq, "Announcements", count(announcements.seq)],
    [
      "store.memory_bytes",
      store.memory_bytes,
      "Store memory",
      store.memory_bytes_max === null || store.memory_bytes_max === 0
        ? bytes(store.memory_bytes)
        : `${bytes(store.memory_bytes)} of ${bytes(store.memory_bytes_max)}`,
    ],
  ];
  return (
    <Panel
      title="Totals"
      more={
        stats.since === null
          ? "nothing was counted yet"
          : `since ${clock(stats.since)}; durability ${store.durability}`
      }
    >
      <dl className="totals">
        {rows.map(([name, value, label, shown]) => (
          <div key={name}>
            <dt>{label}</dt>
            <dd data-stat={name} data-value={value}>
              {shown}
            </dd>
          </div>
        ))}
      </dl>
      {errors.length === 0 ? null : (
        <ul className="chips" aria-label="Refused and failed, by type">
          {errors.map(([type, number]) => (
            <li key={type}>
              {spoken(type)}{" "}
              <b data-stat={`errors.${type}`} data-value={number}>
                {count(number)}
              </b>
            </li>
          ))}
        </ul>
      )}
    </Panel>
  );
}
