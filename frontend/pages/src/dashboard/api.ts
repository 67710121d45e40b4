/** Requests of the dashboard: with the key, bounded in time, refusals as values. */

import type { Problem } from "./wire.js";

export const ANSWER_MS_MAX = 15_000;

/** The server's own words for why not. */
export class Refused extends Error {
  constructor(
    readonly status: number,
    readonly problem: Problem,
  ) {
    super(problem.detail ?? problem.title);
    this.name = "Refused";
  }

  /** This gateway does not have the address, or not what was named in it. */
  get isMissing(): boolean {
    return this.status === 404 || this.status === 405;
  }
}

/** Nobody has answered. */
export class Unreachable extends Error {
  override readonly name = "Unreachable";
}

export interface Api {
  readonly get: <T>(path: string, signal?: AbortSignal) => Promise<T>;
  readonly post: <T>(path: string, body: unknown, signal?: AbortSignal) => Promise<T>;
  readonly remove: (path: string) => Promise<void>;
}

interface ApiOptions {
  readonly key: () => string;
  readonly fetch: typeof fetch;
  /** Told when the key is not taken. */
  readonly onRefused: () => void;
}

export function makeApi({ key, fetch, onRefused }: ApiOptions): Api {
  const ask = async <T>(
    method: string,
    path: string,
    body: unknown,
    signal: AbortSignal | undefined,
  ): Promise<T> => {
    const bound = AbortSignal.timeout(ANSWER_MS_MAX);
    const response = await fetch(path, {
      method,
      headers: {
        ...(key() === "" ? {} : { Authorization: `Bearer ${key()}` }),
        ...(body === undefined ? {} : { "Content-Type": "application/json" }),
      },
      signal: signal === undefined ? bound : AbortSignal.any([signal, bound]),
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    }).catch((error: unknown) => {
      signal?.throwIfAborted();
      throw new Unreachable(String(error));
    });
    if (response.status === 401) onRefused();
    const text = await response.text();
    if (!response.ok) throw new Refused(response.status, problemOf(text, response));
    return (text === "" ? null : JSON.parse(text)) as T;
  };
  return {
    get: (path, signal) => ask("GET", path, undefined, signal),
    post: (path, body, signal) => ask("POST", path, body, signal),
    remove: (path) => ask("DELETE", path, undefined, undefined),
  };
}

/** What an error says to a person. */
export function wordsOf(error: unknown): string {
  if (error instanceof Unreachable)
    return "No gateway answers. Nothing is known of what was asked; try again.";
  return error instanceof Error ? error.message : String(error);
}

function problemOf(text: string, response: Response): Problem {
  try {
    return JSON.parse(text) as Problem;
  } catch {
    return { type: "", title: `${response.status.toString()} ${response.statusText}` };
  }
}
