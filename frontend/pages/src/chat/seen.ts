/**
 * How far the person has seen each chat: marks of this browser, for the unread badges alone.
 *
 * What there is on the first visit counts as seen.
 */

import { useCallback, useEffect, useState } from "react";

import type { Listed } from "./contexts.js";

const NAME = "contextd.seen";

type Seen = Readonly<Record<string, number>>;

export interface Unread {
  readonly isUnread: (context: Listed) => boolean;
  readonly markSeen: (chatId: string, version: number) => void;
}

export function useUnread(contexts: readonly Listed[] | null): Unread {
  const [seen, setSeen] = useState<Seen | null>(readSeen);
  useEffect(() => {
    if (contexts === null || seen !== null) return;
    setSeen(kept(Object.fromEntries(contexts.map((context) => [context.id, context.version]))));
  }, [contexts, seen]);
  useEffect(() => {
    const follow = (event: StorageEvent): void => {
      if (event.key === NAME) setSeen(readSeen());
    };
    addEventListener("storage", follow);
    return () => { removeEventListener("storage", follow); };
  }, []);
  const markSeen = useCallback((chatId: string, version: number) => {
    setSeen((before) => (before !== null && (before[chatId] ?? 0) >= version ? before : kept({ ...before, [chatId]: version })));
  }, []);
  const isUnread = useCallback(
    (context: Listed) => seen !== null && context.version > (seen[context.id] ?? 0),
    [seen],
  );
  return { isUnread, markSeen };
}

function kept(seen: Seen): Seen {
  localStorage.setItem(NAME, JSON.stringify(seen));
  return seen;
}

function readSeen(): Seen | null {
  try {
    const read: unknown = JSON.parse(localStorage.getItem(NAME) ?? "null");
    if (typeof read !== "object" || read === null) return null;
    const marks = Object.entries(read).filter((entry): entry is [string, number] => typeof entry[1] === "number");
    return Object.fromEntries(marks);
  } catch {
    return null;
  }
}
