/** The list of contexts, asked for again while somebody looks at the page. */

import type { BackendContextService } from "@contextd/client";
import { useEffect, useMemo, useSyncExternalStore } from "react";

import { Listing, type ListEntry } from "./listing.js";
import { timeOf } from "./words.js";

export interface Contexts {
  /** Pinned first, then those that something happened in last; null before anybody has answered. */
  readonly all: readonly ListEntry[] | null;
  /** Whether there are no more of them than are known. */
  readonly isWhole: boolean;
  /** Why they could not be asked for, in words; null: they could. */
  readonly trouble: string | null;
  /** Ask again, also for one that has changed. */
  readonly refresh: (chatId?: string) => void;
}

export function useContexts(service: BackendContextService): Contexts {
  const listing = useMemo(
    () =>
      new Listing({
        page: (after) => service.listChats(after === undefined ? {} : { after }),
        after: (ms, call) => {
          const timer = setTimeout(call, ms);
          return () => {
            clearTimeout(timer);
          };
        },
        isHidden: () => document.hidden,
      }),
    [service],
  );
  useEffect(() => {
    const ask = (): void => {
      listing.refresh();
    };
    listing.start();
    document.addEventListener("visibilitychange", ask);
    addEventListener("online", ask);
    return () => {
      listing.stop();
      document.removeEventListener("visibilitychange", ask);
      removeEventListener("online", ask);
    };
  }, [listing]);
  const { contexts, isWhole, trouble } = useSyncExternalStore(
    listing.subscribe,
    listing.listed,
  );
  const all = useMemo(() => (contexts === null ? null : inOrder(contexts)), [contexts]);
  return { all, isWhole, trouble, refresh: listing.refresh };
}

function inOrder(contexts: readonly ListEntry[]): readonly ListEntry[] {
  return [...contexts].sort(
    (one, other) =>
      Number(isPinned(other)) - Number(isPinned(one)) || (timeOf(one) < timeOf(other) ? 1 : -1),
  );
}

function isPinned(context: ListEntry): boolean {
  return context.status !== "unreadable" && context.pinned;
}
