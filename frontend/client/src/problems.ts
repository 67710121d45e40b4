/**
 * Every error of this package.
 *
 *     ContextdError
 *     ├── Problem          the gateway has refused it, and says why (RFC 9457)
 *     ├── Unreachable      no answer; whether the request was received is unknown
 *     ├── NotUnderstood    whoever answers there is not contextd
 *     └── SendFailed       a message of the outbox was given up
 */

import type { ContextView, Phase, ProblemDocument } from "./wire.js";

/** What a person is told when a message could not be sent. */
export const SEND_FAILED = "Failed to send. Please try again.";

export class ContextdError extends Error {
  override readonly name: string = "ContextdError";
}

/** The gateway's refusal. `type` is the name of its kind, as in `/problems/<type>`. */
export class Problem extends ContextdError {
  override readonly name = "Problem";
  readonly type: string;
  readonly status: number;
  readonly title: string;
  readonly detail: string;
  readonly requestId: string;
  /** Where the context is, if the context itself has refused. */
  readonly phase: Phase | null;
  readonly allowedActions: readonly string[];
  readonly version: number | null;
  readonly retryAfterMs: number | null;
  /** All of it, with what only some kinds say. */
  readonly document: ProblemDocument;
  /** The state by then, where a conflict made the client read it. */
  readonly context: ContextView | null;

  constructor(document: ProblemDocument, context: ContextView | null = null) {
    super(document.detail || document.title);
    this.document = document;
    this.type = document.type.replace(/^.*\/problems\//, "");
    this.status = document.status;
    this.title = document.title;
    this.detail = document.detail;
    this.requestId = document.request_id;
    this.phase = document.phase ?? null;
    this.allowedActions = document.allowed_actions ?? [];
    this.version = document.version ?? null;
    this.retryAfterMs = document.retry_after_s == null ? null : document.retry_after_s * 1_000;
    this.context = context;
  }

  /** The context is deleted, was never there, or is somebody else's. */
  get isGone(): boolean {
    return this.type === "not-found" || this.type === "gone";
  }

  /** The context is there, and nobody can open it: asking again brings nothing. */
  get isUnreadable(): boolean {
    return this.type === "unreadable";
  }

  /** Something else has happened meanwhile: a stale `If-Match`, or the wrong phase. */
  get isConflict(): boolean {
    return this.status === 412 || (this.status === 409 && this.type !== "action-abandoned");
  }

  /** The same request, sent again later, may be taken: nobody has decided against it. */
  get isPassing(): boolean {
    return this.phase === null && PASSING.has(this.status);
  }

  /** It passes, and soon enough to be waited for: a day's quota comes back too late. */
  get passesSoon(): boolean {
    return this.isPassing && (this.retryAfterMs ?? 0) <= RETRY_AFTER_MS_MAX;
  }
}

const PASSING: ReadonlySet<number> = new Set([408, 429, 502, 503, 504]);
const RETRY_AFTER_MS_MAX = 60_000;

/** No answer. The request may have been received: repeat it with its key. */
export class Unreachable extends ContextdError {
  override readonly name = "Unreachable";
}

/** An answer that is not contextd's. */
export class NotUnderstood extends ContextdError {
  override readonly name = "NotUnderstood";
}

/** A message was not sent. It is kept, and can be retried or discarded. */
export class SendFailed extends ContextdError {
  override readonly name = "SendFailed";
  readonly clientMessageId: string;

  constructor(clientMessageId: string, cause: unknown) {
    super(SEND_FAILED, { cause });
    this.clientMessageId = clientMessageId;
  }
}
