/**
 * One chat as it was last seen, and what follows it.
 *
 * The state only goes forward: what is older than what is here is dropped, whoever brings it.
 * A frame that cannot be folded makes the client read the state; frames that come meanwhile
 * wait, and those that the state has seen are dropped.
 */

import { compareCursors } from "./cursor.js";
import { Follower, type FollowerOptions } from "./follower.js";
import { tell } from "./listeners.js";
import { ContextdError, Problem } from "./problems.js";
import { reduce } from "./reduce.js";
import { emptyState, type Connection, type Seen, type TransportName } from "./state.js";
import { readState } from "./transports/poll.js";
import type { ContextView, Frame, MessageView } from "./wire.js";

/** Frames that may wait for the state; beyond, the stream begins anew. */
export const FRAMES_HELD_MAX = 2_000;

export class Replica {
  readonly chatId: string;
  readonly #follower: Follower;
  readonly #options: FollowerOptions;
  readonly #listeners = new Set<() => void>();
  readonly #errorListeners = new Set<(error: ContextdError) => void>();
  #seen: Seen;
  /** Frames that wait for the state that is being read; null: none is. */
  #held: Frame[] | null = null;
  #reading: Promise<void> | null = null;
  #ended = new AbortController();

  constructor(chatId: string, options: FollowerOptions) {
    this.chatId = chatId;
    this.#options = options;
    this.#seen = emptyState(chatId);
    this.#follower = new Follower(options, {
      chatId,
      cursor: () => this.#seen.context?.cursor ?? null,
      take: (frame) => {
        this.take(frame);
      },
      check: () => this.refresh(),
      connected: (connection, transport) => {
        this.#connected(connection, transport);
      },
    });
  }

  get seen(): Seen {
    return this.#seen;
  }

  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  onError(listener: (error: ContextdError) => void): () => void {
    this.#errorListeners.add(listener);
    return () => this.#errorListeners.delete(listener);
  }

  /** Follow the context, until `stop`, or until it is found to be gone or unreadable. */
  start(): void {
    if (!this.#seen.isGone) this.#follower.start();
  }

  /** Follow it no longer; what was seen stays. */
  stop(): void {
    this.#ended.abort();
    this.#ended = new AbortController();
    this.#held = null;
    this.#follower.stop();
  }

  /** Read the state now. */
  async refresh(): Promise<void> {
    this.#reading ??= this.#read().finally(() => {
      this.#reading = null;
    });
    return this.#reading;
  }

  /** Take a state that somebody has been answered with. */
  adopt(context: ContextView): void {
    const before = this.#seen.context;
    if (before !== null && compareCursors(context.cursor, before.cursor) <= 0) return;
    this.#tell({ context: before === null ? context : withSameMessages(context, before) });
    this.#follower.nudge();
    this.#release();
  }

  /** Take a frame of a stream. */
  take(frame: Frame): void {
    if (frame.id === "") return; // it moves nothing
    switch (frame.event) {
      case "snapshot":
        this.adopt(frame.data as unknown as ContextView);
        return;
      case "reset":
        this.adopt(frame.data["context"] as ContextView);
        return;
      default:
        if (this.#held === null) this.#fold(frame);
        else this.#hold(this.#held, frame);
    }
  }

  #fold(frame: Frame): void {
    const { context } = this.#seen;
    const folded = context === null ? null : reduce(context, frame);
    if (folded === null) {
      this.#hold([], frame);
      void this.#readHeld();
      return;
    }
    this.#tell({ context: folded });
    if (folded.status === "deleted") this.#gone(null);
  }

  #hold(held: Frame[], frame: Frame): void {
    this.#held = held;
    held.push(frame);
    this.#tell({ isStale: true });
    if (held.length > FRAMES_HELD_MAX) {
      this.#held = null;
      this.#follower.giveUp();
    }
  }

  /** Fold the frames that wait, as far as the state that is here lets that be. */
  #release(): void {
    const held = this.#held;
    const cursor = this.#seen.context?.cursor;
    if (held === null || cursor === undefined) {
      this.#tell({ isStale: false });
      return;
    }
    const first = held[0];
    if (first !== undefined && compareCursors(cursor, first.id) < 0) return;
    this.#held = null;
    this.#tell({ isStale: false });
    for (const frame of held) this.take(frame);
  }

  async #readHeld(): Promise<void> {
    try {
      // A read that has begun before may not know of the frame.
      await this.#reading?.catch(() => undefined);
      if (this.#held !== null) await this.refresh();
      if (this.#held === null) return;
    } catch {
      // What is to be told of it was told where it was read.
    }
    this.#held = null;
    this.#follower.giveUp();
  }

  async #read(): Promise<void> {
    const { connection } = this.#options;
    const { signal } = this.#ended;
    const cursor = this.#seen.context?.cursor ?? null;
    const link = { chatId: this.chatId, connection };
    try {
      const frame = await readState(link, cursor, signal);
      if (frame === null) this.#release();
      else this.take(frame);
      this.#tell({ error: null });
    } catch (error) {
      if (error instanceof ContextdError) this.#fail(error);
      throw error;
    }
  }

  #connected(connection: Connection, transport: TransportName | null): void {
    if (this.#seen.isGone) return;
    if (transport === null) {
      this.#tell({ connection, transport, isStale: true });
      return;
    }
    const isStale = this.#held !== null || this.#seen.context === null;
    this.#tell({ connection, transport, isStale, error: null });
  }

  #fail(error: ContextdError): void {
    if (error instanceof Problem && error.isGone) {
      this.#gone(error);
      return;
    }
    if (error instanceof Problem && error.isUnreadable) this.#follower.stop();
    const before = this.#seen.error;
    this.#tell({ error });
    if (before?.message === error.message) return;
    tell(this.#errorListeners, error);
  }

  #gone(error: ContextdError | null): void {
    if (this.#seen.isGone) return;
    this.#follower.stop();
    this.#tell({ isStale: false, isGone: true, error });
    if (error !== null) tell(this.#errorListeners, error);
  }

  #tell(change: Partial<Seen>): void {
    const before = this.#seen;
    const keys = Object.keys(change) as (keyof Seen)[];
    if (keys.every((key) => change[key] === before[key])) return;
    this.#seen = { ...before, ...change };
    tell(this.#listeners);
  }
}

/** A message never changes once it is committed: those that were here stay the same objects. */
function withSameMessages(context: ContextView, before: ContextView): ContextView {
  const old = new Map<string, MessageView>(before.messages.map((m) => [m.id, m]));
  return { ...context, messages: context.messages.map((m) => old.get(m.id) ?? m) };
}
