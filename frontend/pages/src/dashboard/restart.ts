/** The restart or drain that goes on: followed by its report, through whichever gateway answers. */

import { useEffect, useState } from "react";

import { Refused, type Api } from "./api.js";
import type { RestartReport } from "./wire.js";

const REPORT_MS = 500;
/** For how long a restart is shown that this tab has not asked for. */
const RECENT_MS = 120_000;
const NAME = "contextd.restart";
const GONE = Symbol("its report is not kept any more");

export interface FollowedRestart {
  readonly report: RestartReport | null;
  /** This tab has asked for it, and perhaps nobody has said yet how far it is. */
  readonly isOwn: boolean;
  readonly follow: (restartId: string) => void;
  readonly dismiss: () => void;
}

/** What this tab has asked for, and what was announced when it did. */
interface Own {
  readonly id: string;
  readonly announcedId: string | null;
}

/** Follow the restart that this tab has asked for, or that was announced after. */
export function useRestart(api: Api, announcedId: string | null): FollowedRestart {
  const [own, setOwn] = useState<Own | null>(kept);
  const [report, setReport] = useState<RestartReport | null>(null);
  const [dismissed, setDismissed] = useState<string | null>(null);
  const isOwn = own !== null && (announcedId === own.announcedId || announcedId === own.id);
  const followed = isOwn ? own.id : announcedId;
  const id = followed === dismissed ? null : followed;
  const follow = (restartId: string): void => {
    sessionStorage.setItem(NAME, restartId);
    setOwn({ id: restartId, announcedId });
  };
  const dismiss = (): void => {
    sessionStorage.removeItem(NAME);
    setDismissed(id);
  };
  useEffect(() => {
    if (id === null) return;
    const ended = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const look = async (): Promise<void> => {
      const found = await api
        .get<RestartReport>(`/admin/restarts/${encodeURIComponent(id)}`, ended.signal)
        .catch((error: unknown) => (error instanceof Refused && error.isMissing ? GONE : null));
      if (ended.signal.aborted || found === GONE) return;
      if (found !== null) setReport(found);
      // Nobody answers: its gateway may be the one that ends, and the next look asks another.
      if (found === null || !isDone(found)) timer = setTimeout(() => void look(), REPORT_MS);
    };
    void look();
    return () => {
      ended.abort();
      clearTimeout(timer);
    };
  }, [api, id]);
  return {
    report: report?.restart_id === id ? report : null,
    isOwn: isOwn && id !== null,
    follow,
    dismiss,
  };
}

function kept(): Own | null {
  const id = sessionStorage.getItem(NAME);
  return id === null ? null : { id, announcedId: null };
}

export function isDone({ status }: RestartReport): boolean {
  return status === "complete" || status === "failed";
}

/** A restart that somebody else has asked for is shown while it runs, and a little longer. */
export function isWorthShowing(report: RestartReport, nowMs: number): boolean {
  return !isDone(report) || nowMs - report.requested_at_ms < RECENT_MS;
}
