/**
 * Follows a context by the best transport that works: WebSocket, SSE, long poll, poll.
 *
 * All of them go on from one cursor, so that nothing is lost or doubled by a change. One that
 * does not open while the gateway answers is given up for the next; after a while the better
 * ones are tried again. A page that nobody looks at keeps at most a socket.
 */

import { Backoff } from "./backoff.js";
import type { Connection, Debug } from "./connection.js";
import {
  isOver,
  sleep,
  type Clock,
  type SocketFactory,
  type Visibility,
} from "./environment.js";
import { Ladder } from "./ladder.js";
import { Pace } from "./pace.js";
import { Problem } from "./problems.js";
import type { Connection as ConnectionState, TransportName } from "./state.js";
import { longPoll, poll } from "./transports/poll.js";
import { sse } from "./transports/sse.js";
import type { Link, Transport } from "./transports/transport.js";
import { websocket } from "./transports/websocket.js";

/** Who was hidden for so long begins a new connection: the old one may be dead. */
export const HIDDEN_MS_MAX = 30_000;
const BACKOFF_MS_BASE = 500;
const BACKOFF_MS_MAX = 30_000;
const GIVEN_UP = "given up";

const TRANSPORTS: Readonly<Record<TransportName, Transport>> = {
  websocket,
  sse,
  "long-poll": longPoll,
  poll,
};
const WITHOUT_SOCKETS = ["sse", "long-poll", "poll"] as const;

export interface FollowerOptions {
  readonly connection: Connection;
  readonly openSocket: SocketFactory | undefined;
  readonly clock: Clock;
  readonly random: () => number;
  readonly debug: Debug;
  readonly visibility: Visibility;
  /** Be told when the network comes or goes; what is returned ends that. */
  readonly onNetwork: (listener: () => void) => () => void;
  readonly transport: TransportName | "auto";
}

/** Whom it follows for. */
export interface Following {
  readonly chatId: string;
  readonly cursor: Link["cursor"];
  readonly take: Link["take"];
  /** Reads the state; rejects where that cannot be done. */
  readonly check: Link["check"];
  /** How it follows now. */
  readonly connected: (connection: ConnectionState, transport: TransportName | null) => void;
}

export class Follower {
  readonly #options: FollowerOptions;
  readonly #for: Following;
  readonly #ladder: Ladder<TransportName>;
  readonly #pace = new Pace();
  readonly #unsubscribe: (() => void)[] = [];
  /** Ends the run; null: it does not run. */
  #run: AbortController | null = null;
  /** Ends the connection, so that another one begins. */
  #connected = new AbortController();
  /** Ends a pause. */
  #pausing = new AbortController();
  /** Since when nobody looks; null: somebody does. */
  #hiddenAtMs: number | null = null;

  constructor(options: FollowerOptions, following: Following) {
    this.#options = options;
    this.#for = following;
    const { transport, openSocket } = options;
    if (transport !== "auto") this.#ladder = new Ladder([transport]);
    else if (openSocket === undefined) this.#ladder = new Ladder(WITHOUT_SOCKETS);
    else this.#ladder = new Ladder(["websocket", ...WITHOUT_SOCKETS]);
  }

  /** Begin; from now on the page's being seen, and another network or none, begin it again. */
  start(): void {
    if (this.#unsubscribe.length > 0) return;
    const { visibility, onNetwork } = this.#options;
    this.#unsubscribe.push(
      visibility.subscribe(() => {
        this.#look();
      }),
      onNetwork(() => {
        this.#restart();
      }),
    );
    this.#begin();
  }

  stop(): void {
    for (const end of this.#unsubscribe.splice(0)) end();
    this.#hiddenAtMs = null;
    this.#end();
  }

  /** Begin a new connection now, from the cursor on. */
  #restart(): void {
    this.#connected.abort();
    this.#pausing.abort();
    this.#begin();
  }

  /** Begin a new connection after a while: nothing comes of this one. */
  giveUp(): void {
    this.#connected.abort(GIVEN_UP);
  }

  /** Something has happened: ask soon. */
  nudge(): void {
    this.#pace.changed();
    this.#pausing.abort();
  }

  #look(): void {
    const { visibility, clock } = this.#options;
    if (visibility.hidden) {
      this.#hiddenAtMs ??= clock.now();
      if (this.#ladder.name !== "websocket") this.#end();
      return;
    }
    const hiddenMs = this.#hiddenAtMs === null ? 0 : clock.now() - this.#hiddenAtMs;
    this.#hiddenAtMs = null;
    if (hiddenMs > HIDDEN_MS_MAX) this.#restart();
    else this.#begin();
  }

  #begin(): void {
    if (this.#run !== null || this.#options.visibility.hidden) return;
    const run = new AbortController();
    this.#run = run;
    void this.#follow(run.signal);
  }

  #end(): void {
    this.#run?.abort();
    this.#run = null;
    this.#for.connected("stopped", null);
  }

  async #follow(ended: AbortSignal): Promise<void> {
    const { clock, random, visibility } = this.#options;
    const backoff = new Backoff(random, BACKOFF_MS_BASE, BACKOFF_MS_MAX);
    this.#for.connected("connecting", null);
    while (!isOver(ended)) {
      const waitMs = await this.#connect(ended, backoff);
      if (isOver(ended)) return;
      if (visibility.hidden) {
        this.#end();
        return;
      }
      if (waitMs > 0) {
        this.#pausing = new AbortController();
        await sleep(clock, waitMs, AbortSignal.any([ended, this.#pausing.signal]));
      }
    }
  }

  /** One connection, from its beginning to its end; then how long to wait (ms). */
  async #connect(ended: AbortSignal, backoff: Backoff): Promise<number> {
    const { clock, debug } = this.#options;
    const name = this.#ladder.name;
    const connected = (this.#connected = new AbortController());
    const climb = new AbortController();
    const { climbMs } = this.#ladder;
    const callOff =
      climbMs === null
        ? null
        : clock.after(climbMs, () => {
            climb.abort();
          });
    const signal = AbortSignal.any([ended, connected.signal, climb.signal]);
    let isOpen = false as boolean; // changed by a callback
    const opened = (): void => {
      if (signal.aborted) return;
      this.#ladder.opened();
      isOpen = true;
      backoff.reset();
      this.#for.connected(name.endsWith("poll") ? "polling" : "live", name);
    };
    let failure: Error | null = null;
    let waitMs = 0;
    debug("connecting", { chatId: this.#for.chatId, transport: name });
    try {
      waitMs = await TRANSPORTS[name](this.#link(opened, signal), signal);
    } catch (error) {
      failure = error as Error;
    } finally {
      callOff?.();
    }
    if (connected.signal.reason === GIVEN_UP) return backoff.next();
    if (isOver(ended) || connected.signal.aborted) return 0;
    if (climb.signal.aborted) {
      this.#ladder.climb();
      return 0;
    }
    if (failure !== null) {
      debug("transport has failed", { transport: name, error: String(failure) });
    }
    this.#for.connected("connecting", null);
    const retryAfterMs = failure instanceof Problem ? (failure.retryAfterMs ?? 0) : waitMs;
    const isGone = failure instanceof Problem && failure.isGone;
    if (isOpen && !isGone) return backoff.next(retryAfterMs);
    try {
      await this.#for.check();
    } catch {
      if (!isOver(ended)) this.#for.connected("offline", null);
      return backoff.next(retryAfterMs);
    }
    return this.#ladder.failed() ? 0 : backoff.next(retryAfterMs);
  }

  #link(opened: Link["opened"], signal: AbortSignal): Link {
    const { connection, openSocket, clock, debug, visibility } = this.#options;
    const { chatId, cursor, take, check } = this.#for;
    return {
      chatId,
      connection,
      openSocket,
      clock,
      debug,
      pace: this.#pace,
      cursor,
      opened,
      // What comes late from a connection that was given up is dropped.
      take: (frame) => {
        if (!signal.aborted) take(frame);
      },
      // Nobody looks: when somebody does, a new connection begins.
      check: async () => {
        if (!visibility.hidden) await check();
      },
      pause: async (delayMs) => {
        this.#pausing = new AbortController();
        await sleep(clock, delayMs, AbortSignal.any([signal, this.#pausing.signal]));
      },
    };
  }
}
