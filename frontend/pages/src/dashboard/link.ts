/**
 * The way to the gateways: a WebSocket that goes on where the last one has ended, and requests
 * for statistics while there is none.
 *
 * A new socket is asked to resume behind the last announcement; until it says that it does,
 * its announcements are passed over, since the same ones come after. No gap, no repetition.
 */

import { Refused, type Api } from "./api.js";
import type { Feed } from "./feed.js";
import type { LinkState } from "./findings.js";
import type { Message, Stats } from "./wire.js";

export const STATS_MS = 5_000;
/** A socket that says nothing for so long is given up. */
export const SILENT_MS_MAX = 3 * STATS_MS;
export const RETRY_MS_BASE = 250;
export const RETRY_MS_MAX = 10_000;
/** How much of what was announced before is asked for at first. */
export const BACKLOG = 200;
const RESTARTS = 1012;

/** As much of a WebSocket as is used. */
export interface Socket {
  onmessage: ((event: { readonly data: unknown }) => void) | null;
  onclose: ((event: { readonly code: number }) => void) | null;
  send(text: string): void;
  close(): void;
}

export interface LinkOptions {
  readonly api: Api;
  readonly feed: Feed;
  readonly openSocket: (path: string) => Socket;
  /** Call later; what is returned calls it off. */
  readonly after: (ms: number, call: () => void) => () => void;
  readonly random: () => number;
  readonly onStats: (stats: Stats) => void;
  readonly onTold: (message: Message) => void;
  readonly onState: (state: LinkState) => void;
}

export class Link {
  readonly #options: LinkOptions;
  #socket: Socket | null = null;
  #isStopped = false;
  #isLive = false;
  /** Whether announcements of this socket follow the last one that was taken. */
  #isInStep = false;
  #tries = 0;
  /** Statistics in a row that know of fewer announcements than this page. */
  #behind = 0;
  #callOffRetry = (): void => undefined;
  #callOffLook = (): void => undefined;

  constructor(options: LinkOptions) {
    this.#options = options;
  }

  start(): void {
    void this.#open();
    void this.#look();
  }

  stop(): void {
    this.#isStopped = true;
    this.#callOffRetry();
    this.#callOffLook();
    this.#drop();
  }

  async #open(): Promise<void> {
    const { api, openSocket } = this.#options;
    try {
      const [{ ticket }, { websocket_url: path }] = await Promise.all([
        api.post<{ readonly ticket: string }>("/api/tickets", {}),
        api.get<{ readonly websocket_url: string }>("/api/v1/config/websocket"),
      ]);
      if (this.#isStopped) return;
      const socket = openSocket(`${path}?ticket=${encodeURIComponent(ticket)}`);
      this.#socket = socket;
      this.#isInStep = false;
      socket.onmessage = ({ data }) => {
        this.#hear(socket, JSON.parse(String(data)) as Message);
      };
      socket.onclose = ({ code }) => {
        this.#lost(code);
      };
      this.#expectSomething();
    } catch {
      this.#retry();
    }
  }

  #hear(socket: Socket, message: Message): void {
    const { feed, onTold } = this.#options;
    this.#expectSomething();
    switch (message.type) {
      case "connection_ack": {
        this.#isLive = true;
        this.#tries = 0;
        this.#options.onState("live");
        const oldest = Number(message.data["oldest_seq"] ?? 0);
        const from = feed.seq === 0 ? Math.max(oldest - 1, message.seq - BACKLOG, 0) : feed.seq;
        socket.send(JSON.stringify({ type: "resume", seq: from }));
        return;
      }
      case "stats_update":
        this.#take(message.data as unknown as Stats);
        return;
      case "personal":
        this.#concerned(message);
        return;
      default:
        if (this.#isInStep && feed.take(message)) onTold(message);
    }
  }

  #concerned({ data, timestamp }: Message): void {
    const { feed } = this.#options;
    if (data["kind"] === "resumed") this.#isInStep = true;
    if (data["kind"] === "renumbered") feed.renumber(Number(data["seq"]));
    if (data["kind"] === "missed" && this.#isInStep) {
      feed.miss(Number(data["from_seq"]), Number(data["to_seq"]), timestamp);
    }
  }

  #take(stats: Stats): void {
    // A gateway may be a moment behind; a store that was set back stays behind.
    this.#behind = stats.announcements.seq < this.#options.feed.seq ? this.#behind + 1 : 0;
    if (this.#behind > 1) this.#options.feed.renumber(stats.announcements.seq);
    this.#options.onStats(stats);
  }

  /** Ask for statistics, now and every few seconds, while the socket does not bring them. */
  async #look(): Promise<void> {
    const { api, after, onState } = this.#options;
    if (this.#isCut()) {
      try {
        const stats = await api.get<Stats>("/api/v1/stats");
        if (this.#isCut()) onState("polling");
        this.#take(stats);
      } catch (error) {
        if (this.#isCut())
          onState(error instanceof Refused && error.status === 403 ? "refused" : "away");
      }
    }
    if (!this.#isStopped) this.#callOffLook = after(STATS_MS, () => void this.#look());
  }

  /** Whether no socket brings anything; it may change while something is awaited. */
  #isCut(): boolean {
    return !this.#isLive;
  }

  #expectSomething(): void {
    this.#callOffRetry();
    this.#callOffRetry = this.#options.after(SILENT_MS_MAX, () => {
      this.#lost(0);
    });
  }

  #lost(code: number): void {
    // What was said of one that never opened holds until something else is known.
    const wasLive = this.#isLive;
    this.#drop();
    if (this.#isStopped) return;
    if (wasLive) this.#options.onState("connecting");
    if (code === RESTARTS) this.#tries = 0;
    this.#retry();
  }

  #retry(): void {
    if (this.#isStopped) return;
    const ms =
      Math.min(RETRY_MS_MAX, RETRY_MS_BASE * 2 ** this.#tries) *
      (0.5 + this.#options.random() / 2);
    this.#tries += 1;
    this.#callOffRetry();
    this.#callOffRetry = this.#options.after(ms, () => void this.#open());
  }

  #drop(): void {
    this.#isLive = false;
    const socket = this.#socket;
    this.#socket = null;
    if (socket === null) return;
    socket.onmessage = socket.onclose = null;
    socket.close();
  }
}
