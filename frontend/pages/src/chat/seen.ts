/**
 * How far the person has seen each chat: marks of this browser and account, for the unread
 * badges alone.
 *
 * What there is on the first visit counts as seen.
 */

import { useCallback, useEffect, useMemo, useSyncExternalStore } from "react";

import type { ContextSummary } from "@contextd/client";

import { useAccount } from "./account.js";
import type { ListEntry } from "./listing.js";

const MARKS_MAX = 2_000;

/** The newest version seen, by chat. */
type Marks = Readonly<Record<string, number>>;

export interface Unread {
  readonly isUnread: (context: ContextSummary) => boolean;
  readonly markSeen: (chatId: string, version: number) => void;
}

export function useUnread(contexts: readonly ListEntry[] | null): Unread {
  const name = `contextd.seen.${useAccount()}`;
  const kept = useSyncExternalStore(subscribe, () => localStorage.getItem(name));
  const marks = useMemo(() => marksOf(kept), [kept]);
  useEffect(() => {
    if (contexts === null || marks !== null) return;
    const versions = contexts.flatMap((context) =>
      context.status === "unreadable" ? [] : [[context.id, context.version] as const],
    );
    write(name, Object.fromEntries(versions));
  }, [contexts, marks, name]);
  const markSeen = useCallback(
    (chatId: string, version: number) => {
      const before = marksOf(localStorage.getItem(name));
      if (before !== null && (before[chatId] ?? 0) < version)
        write(name, { ...before, [chatId]: version });
    },
    [name],
  );
  const isUnread = useCallback(
    (context: ContextSummary) => marks !== null && context.version > (marks[context.id] ?? 0),
    [marks],
  );
  return { isUnread, markSeen };
}

const listeners = new Set<() => void>();

/** Be told of what this tab and others mark. */
function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  addEventListener("storage", listener);
  return () => {
    listeners.delete(listener);
    removeEventListener("storage", listener);
  };
}

function write(name: string, marks: Marks): void {
  const newest = Object.fromEntries(Object.entries(marks).slice(-MARKS_MAX));
  localStorage.setItem(name, JSON.stringify(newest));
  for (const listener of listeners) listener();
}

function marksOf(kept: string | null): Marks | null {
  try {
    const value: unknown = JSON.parse(kept ?? "null");
    if (typeof value !== "object" || value === null) return null;
    const marks = Object.entries(value).filter(
      (entry): entry is [string, number] => typeof entry[1] === "number",
    );
    return Object.fromEntries(marks);
  } catch {
    return null;
  }
}
