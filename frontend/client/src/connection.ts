/** Requests: authenticated, bounded in time, sent until answered, identical reads shared. */

import { Backoff } from "./backoff.js";
import { sleep, type Clock } from "./environment.js";
import { randomId } from "./ids.js";
import { ContextdError, NotUnderstood, Problem, Unreachable } from "./problems.js";
import type { ProblemDocument } from "./wire.js";

/** A constant-text message and its fields; contents and keys are never among them. */
export type Debug = (message: string, fields: Readonly<Record<string, unknown>>) => void;

export type ApiKey = string | (() => string | Promise<string>);

export interface ConnectionOptions {
  readonly baseUrl: string;
  readonly apiKey: ApiKey | undefined;
  readonly fetch: typeof fetch;
  readonly clock: Clock;
  readonly random: () => number;
  readonly debug: Debug;
}

/** How often a request is sent before its last failure is told. */
export const TRIES_MAX = 4;
/** How long one try may take; what it asks to wait comes on top. */
export const ANSWER_MS_MAX = 30_000;
const BACKOFF_MS_BASE = 200;
const BACKOFF_MS_MAX = 5_000;

/** What every change takes besides what it is. */
export interface WriteOptions {
  /** The same in every try; made if it is not given. */
  readonly idempotencyKey?: string;
  /** Wait so long (60 s at most) until the turn rests; else the answer comes once it is applied. */
  readonly waitMs?: number;
  /** Only if the context is still at the version of this cursor. */
  readonly ifCursor?: string;
  /** How often it is sent while nobody has decided on it. */
  readonly tries?: number;
  readonly signal?: AbortSignal;
}

type Query = Readonly<Record<string, string | number | boolean | undefined>>;

/** What is known of a request but its address. */
interface Asked {
  readonly method: "GET" | "POST" | "DELETE";
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  readonly waitMs?: number | undefined;
  readonly tries?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** An answer that was read to its end. */
export interface Answered<T> {
  readonly status: number;
  readonly headers: Headers;
  /** Undefined where there is no body (304). */
  readonly body: T | undefined;
}

export class Connection {
  readonly #options: ConnectionOptions;
  readonly #baseUrl: string;
  readonly #reading = new Map<string, Promise<unknown>>();
  #written = 0;

  constructor(options: ConnectionOptions) {
    this.#options = options;
    this.#baseUrl = options.baseUrl.replace(/\/+$/, "");
  }

  /** Read JSON; whoever reads the same meanwhile gets the same answer. */
  async get<T>(path: string, query: Query, options: { signal?: AbortSignal }): Promise<T> {
    return bodyOf(await this.#read<T>(path, query, options));
  }

  /** Read a page of a list, and `after` of the next one, if there is one. */
  async getPage<T>(
    path: string,
    query: Query,
    options: { signal?: AbortSignal },
  ): Promise<T & { readonly next: string | null }> {
    const answered = await this.#read<T>(path, query, options);
    return { ...bodyOf(answered), next: nextOf(answered.headers) };
  }

  async #read<T>(
    path: string,
    query: Query,
    { signal }: { signal?: AbortSignal },
  ): Promise<Answered<T>> {
    const target = `${path}${queryString(query)}`;
    const key = `${this.#written} ${target}`;
    let reading = this.#reading.get(key) as Promise<Answered<T>> | undefined;
    if (reading === undefined) {
      reading = this.ask<T>(target, { method: "GET" }).finally(() => this.#reading.delete(key));
      this.#reading.set(key, reading);
    }
    return signal === undefined ? reading : abandonable(reading, signal);
  }

  /** Do something once: every try has the same key and the same bytes. */
  async post<T>(path: string, body: unknown, options: WriteOptions): Promise<T> {
    return bodyOf(await this.#write<T>("POST", path, body, options));
  }

  /** Delete; what is not there is deleted. */
  async delete(path: string, options: WriteOptions): Promise<void> {
    try {
      await this.#write("DELETE", path, undefined, options);
    } catch (error) {
      if (!(error instanceof Problem) || !error.isGone) throw error;
    }
  }

  async #write<T>(
    method: "POST" | "DELETE",
    path: string,
    body: unknown,
    options: WriteOptions,
  ): Promise<Answered<T>> {
    const { idempotencyKey, waitMs, ifCursor, tries, signal } = options;
    const headers: Record<string, string> = {
      "Idempotency-Key": idempotencyKey ?? randomId(this.#options.random),
    };
    if (waitMs !== undefined) headers["Prefer"] = `wait=${Math.ceil(waitMs / 1_000)}`;
    if (ifCursor !== undefined) headers["If-Match"] = `"${ifCursor}"`;
    try {
      return await this.ask<T>(path, { method, body, headers, waitMs, tries, signal });
    } finally {
      // A read that began before this answer may not know of it.
      this.#written += 1;
    }
  }

  /**
   * One request, sent again while nobody has decided on it.
   *
   * @throws Problem, Unreachable, NotUnderstood; what the signal says if it ends the request.
   */
  async ask<T>(target: string, asked: Asked): Promise<Answered<T>> {
    const { clock, random, debug } = this.#options;
    const backoff = new Backoff(random, BACKOFF_MS_BASE, BACKOFF_MS_MAX);
    const signal = asked.signal ?? new AbortController().signal;
    for (;;) {
      try {
        return await this.#try<T>(target, asked, signal);
      } catch (error) {
        signal.throwIfAborted();
        const mayPass =
          error instanceof Unreachable || (error instanceof Problem && error.passesSoon);
        debug("request failed", { method: asked.method, target, error: String(error) });
        const waitMs = backoff.next(error instanceof Problem ? (error.retryAfterMs ?? 0) : 0);
        if (!mayPass || backoff.tries >= (asked.tries ?? TRIES_MAX)) throw error;
        await sleep(clock, waitMs, signal);
        signal.throwIfAborted();
      }
    }
  }

  async #try<T>(target: string, asked: Asked, signal: AbortSignal): Promise<Answered<T>> {
    const { clock, debug } = this.#options;
    const late = new AbortController();
    const callOff = clock.after(ANSWER_MS_MAX + (asked.waitMs ?? 0), () => {
      late.abort();
    });
    try {
      const response = await this.open(target, asked, AbortSignal.any([signal, late.signal]));
      debug("request answered", { method: asked.method, target, status: response.status });
      if (response.status === 304) {
        return { status: 304, headers: response.headers, body: undefined };
      }
      return { status: response.status, headers: response.headers, body: await read(response) };
    } finally {
      callOff();
    }
  }

  /**
   * Send a request and return its answer's beginning, for streams; 2xx and 304 only.
   *
   * @throws Problem, Unreachable, NotUnderstood.
   */
  async open(target: string, asked: Asked, signal: AbortSignal): Promise<Response> {
    const headers: Record<string, string> = { ...asked.headers };
    const key = await this.#key();
    if (key !== undefined) headers["Authorization"] = `Bearer ${key}`;
    const init: RequestInit = { method: asked.method, headers, signal, cache: "no-store" };
    if (asked.body !== undefined) {
      headers["Content-Type"] = "application/json";
      init.body = toJson(asked.body);
    }
    let response: Response;
    try {
      response = await this.#options.fetch(`${this.#baseUrl}${target}`, init);
    } catch (error) {
      throw new Unreachable("Nobody answers.", { cause: error });
    }
    if (response.ok || response.status === 304) return response;
    throw await problemOf(response);
  }

  /** The address of a WebSocket, with a ticket in it where a key is needed. */
  async socketUrl(path: string, query: Query, signal: AbortSignal): Promise<string> {
    let ticket: string | undefined;
    if (this.#options.apiKey !== undefined) {
      const issued = await this.ask<{ ticket: string }>("/api/tickets", {
        method: "POST",
        tries: 1,
        signal,
      });
      ticket = bodyOf(issued).ticket;
    }
    const base = this.#baseUrl.replace(/^http/, "ws");
    return `${base}${path}${queryString({ ...query, ticket })}`;
  }

  async #key(): Promise<string | undefined> {
    const { apiKey } = this.#options;
    if (typeof apiKey !== "function") return apiKey;
    try {
      return await apiKey();
    } catch (error) {
      throw new Unreachable("There is no key to ask with.", { cause: error });
    }
  }
}

/**
 * A body as it is sent. Half of a surrogate pair is U+FFFD in it, as in all text that browsers
 * send themselves: no JSON has it, and a person who has cut an emoji in two is still understood.
 *
 * @throws TypeError, where it is no JSON: a bigint, a circle, NaN (which would go out as null,
 *   and that restores a default), half of a pair in a name (two names could become one).
 */
export function toJson(body: unknown): string {
  return JSON.stringify(body, (name, value: unknown) => {
    if (typeof value === "number" && !Number.isFinite(value)) {
      throw new TypeError(`${name}: there is no ${value.toString()} in JSON`);
    }
    if (!name.isWellFormed()) {
      throw new TypeError(`${name.toWellFormed()}: half of a surrogate pair is in this name`);
    }
    return typeof value === "string" ? value.toWellFormed() : value;
  });
}

export function queryString(query: Query): string {
  const given = Object.entries(query).filter(([, value]) => value !== undefined);
  const listed = new URLSearchParams(given.map(([name, value]) => [name, String(value)]));
  return given.length === 0 ? "" : `?${listed.toString()}`;
}

function nextOf(headers: Headers): string | null {
  const address = /<([^>]*)>;\s*rel="next"/.exec(headers.get("Link") ?? "")?.[1] ?? "";
  return new URLSearchParams(address.split("?")[1]).get("after");
}

function bodyOf<T>({ body }: Answered<T>): T {
  if (body === undefined) throw new NotUnderstood("The answer has no body.");
  return body;
}

async function read<T>(response: Response): Promise<T> {
  try {
    return (await response.json()) as T;
  } catch (error) {
    if (error instanceof SyntaxError) throw new NotUnderstood("The answer is not JSON.");
    throw new Unreachable("The answer was cut.", { cause: error });
  }
}

async function problemOf(response: Response): Promise<ContextdError> {
  const isProblem = response.headers
    .get("Content-Type")
    ?.startsWith("application/problem+json");
  if (isProblem === true) return new Problem(whole(response.status, await read(response)));
  const text = `Status ${response.status}, and no problem document.`;
  // A proxy answers for a gateway that is away.
  return response.status >= 502 ? new Unreachable(text) : new NotUnderstood(text);
}

/** A problem document with all its members: of a proxy's, none need be there (RFC 9457). */
function whole(status: number, said: Partial<ProblemDocument> | null): ProblemDocument {
  return {
    ...said,
    type: said?.type ?? "about:blank",
    title: said?.title ?? `Status ${status}, and no reason given.`,
    status,
    detail: said?.detail ?? "",
    request_id: said?.request_id ?? "",
  };
}

/** The promise, or what the signal says if that is first; what was promised goes on. */
function abandonable<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abandon = (): void => {
      reject(signal.reason as Error);
    };
    if (signal.aborted) abandon();
    signal.addEventListener("abort", abandon);
    promise.then(resolve, reject).finally(() => {
      signal.removeEventListener("abort", abandon);
    });
  });
}
