/** One honest line: all is well, or what is not, each with since when. */

import type { ReactNode } from "react";

import { Icon } from "../common/Icon.js";
import { worst, type Noted } from "./findings.js";
import { clock, span } from "./words.js";
import type { Known } from "./watcher.js";

export function StatusLine({ known }: { readonly known: Known }): ReactNode {
  const { findings, wellSinceMs, nowMs, stats } = known;
  const level = worst(findings) ?? (stats === null ? "note" : "good");
  const matter = findings.filter((each) => each.level !== "note");
  const notes = findings.filter((each) => each.level === "note");
  return (
    <section
      className="status"
      data-level={matter.length === 0 && stats !== null ? "good" : level}
      aria-label="Status"
    >
      <span className="status-icon">
        <Icon name={matter.length > 0 ? "warn" : "check"} />
      </span>
      <div className="status-words">
        <h2>
          <span role="status">{headline(known, matter)}</span>
        </h2>
        {matter.length === 0 && wellSinceMs !== null ? (
          <p>
            Since {clock(wellSinceMs)} at least ({span((nowMs - wellSinceMs) / 1_000)}), as this
            page has seen it
          </p>
        ) : null}
        {matter.length === 0 && notes.length === 0 ? null : (
          <ul>
            {[...matter, ...notes].map((finding) => (
              <li key={finding.key} data-level={finding.level}>
                <i aria-hidden="true" />
                <span>{finding.words}</span>
                <small>{since(finding, nowMs)}</small>
              </li>
            ))}
          </ul>
        )}
      </div>
    </section>
  );
}

function headline({ stats, link }: Known, matter: readonly Noted[]): string {
  if (matter.some(({ level }) => level === "bad")) return "Something is wrong";
  if (matter.length > 0) return "Look at this";
  if (stats !== null) return "All is well";
  return link === "away" ? "Not connected" : "Looking…";
}

function since({ sinceMs, isAtLeast }: Noted, nowMs: number): string {
  const long = span((nowMs - sinceMs) / 1_000);
  return isAtLeast ? `for ${long} at least` : `since ${clock(sinceMs)} (${long})`;
}
