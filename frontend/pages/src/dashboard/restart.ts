/** The restart or drain that goes on: followed by its report, through whichever gateway answers. */

import { useCallback, useEffect, useState } from "react";

import type { Api } from "./api.js";
import type { RestartReport } from "./wire.js";

const REPORT_MS = 500;
/** A restart that was over before this page looked is shown only if it is as recent as this. */
const RECENT_MS = 60_000;
const NAME = "contextd.restart";

export interface FollowedRestart {
  readonly report: RestartReport | null;
  /** It was asked for, and no gateway has said yet how far it is. */
  readonly isFollowed: boolean;
  readonly follow: (restartId: string) => void;
  readonly dismiss: () => void;
}

/** Follow the restart that this tab has asked for, or that was announced. */
export function useRestart(api: Api, announcedId: string | null): FollowedRestart {
  const [id, setId] = useState(() => sessionStorage.getItem(NAME));
  const [report, setReport] = useState<RestartReport | null>(null);
  const [dismissed, setDismissed] = useState<string | null>(null);
  const follow = useCallback((restartId: string) => {
    sessionStorage.setItem(NAME, restartId);
    setReport(null);
    setId(restartId);
  }, []);
  const dismiss = useCallback(() => {
    sessionStorage.removeItem(NAME);
    setDismissed(id);
    setId(null);
    setReport(null);
  }, [id]);
  useEffect(() => {
    if (announcedId !== null && announcedId !== dismissed) setId(announcedId);
  }, [announcedId, dismissed]);
  useEffect(() => {
    if (id === null) return;
    const ended = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    let isFirst = true;
    const look = async (): Promise<void> => {
      const found = await api
        .get<RestartReport>(`/admin/restarts/${encodeURIComponent(id)}`, ended.signal)
        .catch(() => null); // its gateway may be the one that ends: the next look asks another
      if (ended.signal.aborted) return;
      const isOver = found !== null && isDone(found);
      const isOld = found !== null && isOver && Date.now() - found.requested_at_ms > RECENT_MS;
      if (isFirst && isOld && sessionStorage.getItem(NAME) !== id) return;
      isFirst = false;
      if (found !== null) setReport(found);
      if (!isOver) timer = setTimeout(() => void look(), REPORT_MS);
    };
    void look();
    return () => {
      ended.abort();
      clearTimeout(timer);
    };
  }, [api, id]);
  return { report, isFollowed: id !== null && sessionStorage.getItem(NAME) === id, follow, dismiss };
}

export function isDone({ status }: RestartReport): boolean {
  return status === "complete" || status === "failed";
}
