/** What went wrong with something that the person has just asked for. */

import { ContextdError, Problem } from "@contextd/client";
import { createContext, useCallback, useContext, useMemo, useState } from "react";

export interface Notice {
  readonly id: number;
  readonly text: string;
}

export interface Notices {
  readonly shown: readonly Notice[];
  readonly dismiss: (id: number) => void;
  /** Wait for something; tell the person where it fails, and answer undefined. */
  readonly attempt: <T>(work: Promise<T>) => Promise<T | undefined>;
}

const SHOWN_MAX = 3;
let made = 0;

export const NoticesContext = createContext<Notices>({
  shown: [],
  dismiss: () => undefined,
  attempt: () => Promise.resolve(undefined),
});

export function useNotices(): Notices {
  return useContext(NoticesContext);
}

export function useNewNotices(): Notices {
  const [shown, setShown] = useState<readonly Notice[]>([]);
  const dismiss = useCallback((id: number) => {
    setShown((all) => all.filter((notice) => notice.id !== id));
  }, []);
  const attempt = useCallback(async <T>(work: Promise<T>): Promise<T | undefined> => {
    try {
      return await work;
    } catch (error) {
      const text = sentenceOf(error);
      setShown((all) =>
        [...all.filter((notice) => notice.text !== text), { id: ++made, text }].slice(
          -SHOWN_MAX,
        ),
      );
      return undefined;
    }
  }, []);
  return useMemo(() => ({ shown, dismiss, attempt }), [shown, dismiss, attempt]);
}

export function sentenceOf(error: unknown): string {
  if (error instanceof Problem) return error.detail || error.title;
  if (error instanceof ContextdError) return "contextd does not answer. Please try again.";
  return "Something went wrong. Please try again.";
}
