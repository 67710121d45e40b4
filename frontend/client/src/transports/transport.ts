/** A way to learn what happens in a context: frames, in order, from a cursor on. */

import type { Connection, Debug } from "../connection.js";
import type { Clock, SocketFactory } from "../environment.js";
import type { Pace } from "../pace.js";
import { NotUnderstood } from "../problems.js";
import type { Frame } from "../wire.js";

/** What a transport works with. */
export interface Link {
  readonly chatId: string;
  readonly connection: Connection;
  readonly openSocket: SocketFactory | undefined;
  readonly clock: Clock;
  readonly debug: Debug;
  readonly pace: Pace;
  /** What was seen so far; null: nothing. */
  readonly cursor: () => string | null;
  /** It works: the first thing has been heard. */
  readonly opened: () => void;
  /** Frames come in order; a whole state comes as a `snapshot`. */
  readonly take: (frame: Frame) => void;
  /** Read the state beside the stream, to find out whether the stream still tells all. */
  readonly check: () => Promise<void>;
  /** Wait, unless something happens that is worth to be asked for at once. */
  readonly pause: (delayMs: number) => Promise<void>;
}

/**
 * Follow a context until the signal ends it, or the connection does.
 *
 * @returns How long the gateway asks to wait before the next connection (ms).
 * @throws ContextdError, where it could not be opened, or was cut.
 */
export type Transport = (link: Link, signal: AbortSignal) => Promise<number>;

/**
 * What the gateway says in a stream.
 *
 * @throws NotUnderstood, without what was said: it may be private.
 */
export function fromJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new NotUnderstood("What was said is not JSON.");
  }
}
