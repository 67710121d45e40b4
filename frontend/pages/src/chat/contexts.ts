/** The list of contexts, asked for again while somebody looks at the page. */

import type { BackendContextService, ContextSummary } from "@contextd/client";
import { useCallback, useEffect, useRef, useState } from "react";

const PAGE = 50;
const PACE_MS = 2_000;
const PACE_MS_MAX = 10_000;
/** So many times unchanged, and the list is asked for half as often. */
const UNCHANGED_MAX = 5;

export interface Contexts {
  /** Pinned first, then those that something happened in last; null before anybody has answered. */
  readonly all: readonly ContextSummary[] | null;
  readonly hasFailed: boolean;
  readonly hasMore: boolean;
  readonly refresh: () => void;
  readonly loadMore: () => void;
}

export function useContexts(service: BackendContextService): Contexts {
  const [first, setFirst] = useState<readonly ContextSummary[] | null>(null);
  const [older, setOlder] = useState<readonly ContextSummary[]>([]);
  const [hasFailed, setHasFailed] = useState(false);
  const [hasMore, setHasMore] = useState(false);
  const wake = useRef<() => void>(() => undefined);

  useEffect(() => {
    let isOpen = true;
    let timer: ReturnType<typeof setTimeout> | undefined;
    let paceMs = PACE_MS;
    let unchanged = 0;
    let last = "";
    let isAsking = false;
    let isWanted = false;

    const ask = async (): Promise<void> => {
      clearTimeout(timer);
      if (isAsking) {
        isWanted = true;
        return;
      }
      isAsking = true;
      try {
        const { contexts } = await service.listChats({ limit: PAGE });
        if (!isOpen) return;
        const now = JSON.stringify(contexts);
        if (now === last) unchanged += 1;
        else {
          unchanged = 0;
          paceMs = PACE_MS;
          setFirst(contexts);
        }
        last = now;
        setHasFailed(false);
        setHasMore(contexts.length === PAGE);
      } catch {
        if (!isOpen) return;
        unchanged += 1;
        setHasFailed(true);
      } finally {
        isAsking = false;
      }
      if (unchanged >= UNCHANGED_MAX) {
        unchanged = 0;
        paceMs = Math.min(paceMs * 2, PACE_MS_MAX);
      }
      if (!document.hidden) timer = setTimeout(() => void ask(), isWanted ? 0 : paceMs);
      isWanted = false;
    };
    const restart = (): void => {
      clearTimeout(timer);
      if (document.hidden) return;
      paceMs = PACE_MS;
      unchanged = 0;
      void ask();
    };
    wake.current = restart;
    restart();
    document.addEventListener("visibilitychange", restart);
    addEventListener("online", restart);
    return () => {
      isOpen = false;
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", restart);
      removeEventListener("online", restart);
    };
  }, [service]);

  const refresh = useCallback(() => {
    wake.current();
  }, []);
  const after = (older.at(-1) ?? first?.at(-1))?.id;
  const loadMore = useCallback(() => {
    if (after === undefined) return;
    void service.listChats({ limit: PAGE, after }).then(
      ({ contexts }) => {
        setOlder((shown) => [...shown, ...contexts]);
        setHasMore(contexts.length === PAGE);
      },
      () => {
        setHasFailed(true);
      },
    );
  }, [service, after]);
  return {
    all: first === null ? null : merged(first, older),
    hasFailed,
    hasMore,
    refresh,
    loadMore,
  };
}

function merged(
  first: readonly ContextSummary[],
  older: readonly ContextSummary[],
): readonly ContextSummary[] {
  const known = new Set(first.map((context) => context.id));
  const all = [...first, ...older.filter((context) => !known.has(context.id))];
  return all.sort(
    (one, other) =>
      Number(other.pinned) - Number(one.pinned) || (one.updated_at < other.updated_at ? 1 : -1),
  );
}
