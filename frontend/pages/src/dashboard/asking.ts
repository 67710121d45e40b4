/** Something that is asked for now and again while it is looked at. */

import { useCallback, useEffect, useRef, useState } from "react";

import { Refused, wordsOf, type Api } from "./api.js";

export interface Asked<T> {
  /** Null: nothing was answered yet. */
  readonly answer: T | null;
  /** What went wrong the last time; null: nothing did. */
  readonly wrong: string | null;
  /** This gateway does not offer it. */
  readonly isMissing: boolean;
  readonly again: () => void;
}

/** What was heard, and of what. */
interface Heard<T> extends Omit<Asked<T>, "again"> {
  readonly path: string;
}

const NOTHING = { answer: null, wrong: null, isMissing: false } as const;

/** Ask for a path every so often; the last answer stays while a later one fails. */
export function useAsking<T>(api: Api, path: string, everyMs: number): Asked<T> {
  const [state, setState] = useState<Heard<T>>({
    path,
    answer: null,
    wrong: null,
    isMissing: false,
  });
  const askNow = useRef<() => void>(() => undefined);
  useEffect(() => {
    const ended = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const ask = async (): Promise<void> => {
      clearTimeout(timer);
      try {
        const answer = await api.get<T>(path, ended.signal);
        if (!ended.signal.aborted) setState({ path, answer, wrong: null, isMissing: false });
      } catch (error) {
        if (ended.signal.aborted) return;
        if (error instanceof Refused && error.isMissing) {
          setState({ path, answer: null, wrong: null, isMissing: true });
          return;
        }
        setState((before) => ({
          path,
          answer: before.path === path ? before.answer : null,
          wrong: wordsOf(error),
          isMissing: false,
        }));
      }
      if (ended.signal.aborted) return;
      clearTimeout(timer);
      timer = setTimeout(() => void ask(), everyMs);
    };
    askNow.current = () => void ask();
    void ask();
    return () => {
      ended.abort();
      clearTimeout(timer);
    };
  }, [api, path, everyMs]);
  const again = useCallback(() => {
    askNow.current();
  }, []);
  const { answer, wrong, isMissing } = state.path === path ? state : NOTHING;
  return { answer, wrong, isMissing, again };
}
