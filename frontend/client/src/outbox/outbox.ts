/**
 * Messages that are to be sent: kept, in order, each under one key, until the backend has them.
 *
 * What is sent is decided by the storage alone. Several tabs may send the same entry: it has
 * the same key in each, so it is said once; and a tab sends an entry only once it knows that
 * those before it are done with. Web Locks, where there are some, spare the double requests; who
 * does not get one in time sends without.
 */

import { Backoff } from "../backoff.js";
import { toJson, type Connection, type Debug } from "../connection.js";
import { isOver, sleep, type Clock, type Locks } from "../environment.js";
import { randomId } from "../ids.js";
import { tell } from "../listeners.js";
import { ContextdError, Problem, SendFailed, Unreachable } from "../problems.js";
import { pathOf } from "../service.js";
import type { ActionResponse, SendMessage } from "../wire.js";
import type { OutboxEntry, OutboxStorage } from "./entry.js";

/** What may be said of a message besides its content. */
export type SendOptions = Omit<SendMessage, "content" | "client_message_id"> & {
  /** Made if it is not given. */
  readonly clientMessageId?: string;
};

/** How often a gateway that answers may put an entry off before it has failed. */
export const PUT_OFF_MAX = 8;
/** How long to wait for the tab that sends: browsers suspend tabs that hold a lock. */
export const LOCK_MS_MAX = 10_000;
const BACKOFF_MS_BASE = 500;
const BACKOFF_MS_MAX = 30_000;

export interface OutboxOptions {
  readonly connection: Connection;
  readonly storage: OutboxStorage;
  readonly locks: Locks | undefined;
  readonly clock: Clock;
  readonly random: () => number;
  readonly debug: Debug;
  /** Is told every state that was answered. */
  readonly seen: (response: ActionResponse) => void;
}

/** Sends for one chat; between tries it sleeps until it is woken. */
interface Sender {
  wake: AbortController;
  /** Somebody has asked meanwhile for what waits to be sent. */
  again: boolean;
}

export class Outbox {
  readonly #options: OutboxOptions;
  readonly #listeners = new Set<() => void>();
  readonly #errorListeners = new Set<(error: SendFailed, chatId: string) => void>();
  readonly #ended = new AbortController();
  readonly #unsubscribe: () => void;
  /** Who sends for a chat now, and how to wake it. */
  readonly #senders = new Map<string, Sender>();
  /** The last thing that was asked of the storage: one after another, so that none is outdated. */
  #storing: Promise<unknown> = Promise.resolve();
  /** As the storage had them last, and those that it is just taking. */
  #entries: readonly OutboxEntry[] = [];
  #adding: readonly OutboxEntry[] = [];
  #shown = new Map<string, readonly OutboxEntry[]>();

  constructor(options: OutboxOptions) {
    this.#options = options;
    this.#unsubscribe = options.storage.subscribe(() => {
      this.flush();
    });
    this.flush();
  }

  /** What is not known to be taken, in order; the same array until it changes. */
  pending(chatId: string): readonly OutboxEntry[] {
    let shown = this.#shown.get(chatId);
    if (shown === undefined) {
      const all = [...this.#entries, ...this.#adding];
      shown = all.filter((entry) => entry.chatId === chatId);
      this.#shown.set(chatId, shown);
    }
    return shown;
  }

  /** Be told of every change; what is returned ends that. */
  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Be told which message was given up, and of which chat. */
  onError(listener: (error: SendFailed, chatId: string) => void): () => void {
    this.#errorListeners.add(listener);
    return () => this.#errorListeners.delete(listener);
  }

  /**
   * Keep a message and send it as soon as that is possible. It is pending at once.
   *
   * @returns Its `client_message_id`, once it is kept; rejects if the storage does not take it,
   *   or if it is no JSON (TypeError).
   */
  async add(
    chatId: string,
    content: SendMessage["content"],
    { clientMessageId, ...rest }: SendOptions = {},
  ): Promise<string> {
    const { clock, random, storage } = this.#options;
    const id = clientMessageId ?? randomId(random);
    const entry = {
      id,
      chatId,
      body: { ...rest, content, client_message_id: id },
      idempotencyKey: randomId(random),
      createdAtMs: clock.now(),
      status: "waiting",
      reason: null,
    } as const;
    toJson(entry.body); // what can never be sent would hold up all that is said after it
    this.#adding = [...this.#adding, { ...entry, position: Infinity }];
    this.#changed();
    const settle = (): void => {
      this.#adding = this.#adding.filter((other) => other.id !== id);
    };
    await this.#store(() => storage.add(entry), settle);
    this.#beginAll();
    return id;
  }

  /** Send a message that has failed once more. */
  async retry(id: string): Promise<void> {
    const { storage } = this.#options;
    await this.#store(async () => {
      const found = (await storage.list()).find((entry) => entry.id === id);
      if (found?.status !== "failed") return;
      await storage.update({ ...found, status: "waiting", reason: null });
    });
    this.#beginAll();
  }

  /** Forget a message. One that is being sent may have been said all the same. */
  async discard(id: string): Promise<void> {
    await this.#store(() => this.#options.storage.remove(id));
  }

  /** Try now to send what waits. */
  flush(): void {
    this.#store(() => Promise.resolve()).then(
      () => {
        this.#beginAll();
      },
      (error: unknown) => {
        this.#options.debug("outbox cannot be read", { error: String(error) });
      },
    );
  }

  /** Send nothing more; what waits stays in the storage. */
  dispose(): void {
    this.#ended.abort();
    this.#unsubscribe();
    this.#listeners.clear();
    this.#errorListeners.clear();
  }

  /** Ask something of the storage, and see what it has then. */
  #store(
    operation: () => Promise<unknown>,
    settle: () => void = () => undefined,
  ): Promise<void> {
    const { storage } = this.#options;
    const stored = this.#storing.then(async () => {
      try {
        await operation();
        this.#entries = await storage.list();
      } finally {
        settle();
        this.#changed();
      }
    });
    this.#storing = stored.catch(() => undefined);
    return stored;
  }

  #changed(): void {
    this.#shown = new Map();
    tell(this.#listeners);
  }

  #beginAll(): void {
    for (const chatId of new Set(this.#entries.map((entry) => entry.chatId))) {
      this.#begin(chatId);
    }
  }

  #begin(chatId: string): void {
    const running = this.#senders.get(chatId);
    if (running !== undefined) {
      running.again = true;
      running.wake.abort();
      return;
    }
    if (this.#next(chatId) === undefined) return;
    const sender: Sender = { wake: new AbortController(), again: false };
    this.#senders.set(chatId, sender);
    const ended = (error?: Error): void => {
      if (error !== undefined)
        this.#options.debug("outbox has failed", { error: error.message });
      this.#senders.delete(chatId);
      if (sender.again) this.#beginAll();
    };
    this.#alone(chatId, () => this.#drain(chatId, sender)).then(() => {
      ended();
    }, ended);
  }

  /** Do something that one tab does at a time, unless there is no lock to be had in time. */
  async #alone(chatId: string, work: () => Promise<void>): Promise<void> {
    const { locks, clock } = this.#options;
    if (locks === undefined) return work();
    const late = new AbortController();
    const callOff = clock.after(LOCK_MS_MAX, () => {
      late.abort();
    });
    let isHeld = false as boolean; // changed by a callback
    const held = (): Promise<void> => {
      isHeld = true;
      callOff();
      return work();
    };
    const signal = AbortSignal.any([this.#ended.signal, late.signal]);
    try {
      await locks.request(`contextd-outbox ${chatId}`, { signal }, held);
    } catch (error) {
      if (isHeld) throw error;
      await work();
    } finally {
      callOff();
    }
  }

  #next(chatId: string): OutboxEntry | undefined {
    return this.#entries.find((entry) => entry.chatId === chatId && entry.status === "waiting");
  }

  /** Send what waits for a chat, one after another, until nothing does. */
  async #drain(chatId: string, sender: Sender): Promise<void> {
    const { random, clock, storage } = this.#options;
    const backoff = new Backoff(random, BACKOFF_MS_BASE, BACKOFF_MS_MAX);
    let putOff = 0;
    while (!isOver(this.#ended.signal)) {
      await this.#store(() => Promise.resolve()); // another tab may have sent it
      const entry = this.#next(chatId);
      if (entry === undefined) return;
      const error = await this.#deliver(entry);
      if (error === null) {
        await this.#store(() => storage.remove(entry.id));
        backoff.reset();
        putOff = 0;
        continue;
      }
      const isAnswer = error instanceof Problem;
      putOff += isAnswer ? 1 : 0;
      if ((isAnswer && !error.passesSoon) || putOff >= PUT_OFF_MAX) {
        await this.#fail(entry, error);
        putOff = 0;
        continue;
      }
      const askedMs = isAnswer ? (error.retryAfterMs ?? 0) : 0;
      const waitMs = backoff.next(askedMs);
      const signals = [this.#ended.signal, sender.wake.signal];
      // Nobody wakes it before the time that the gateway has told: it would be put off again.
      await sleep(clock, waitMs, AbortSignal.any(askedMs > 0 ? signals.slice(0, 1) : signals));
      if (sender.wake.signal.aborted) sender.wake = new AbortController();
    }
  }

  /** Send one entry; null: it has been done. */
  async #deliver(entry: OutboxEntry): Promise<Error | null> {
    const { connection, seen } = this.#options;
    const path = `${pathOf(entry.chatId)}/actions/send_message`;
    try {
      const response = await connection.post<ActionResponse>(path, entry.body, {
        idempotencyKey: entry.idempotencyKey,
        tries: 1,
        signal: this.#ended.signal,
      });
      seen(response);
      // Taken and not applied yet: the same again tells what becomes of it.
      return response.action?.result === "applied" ? null : new Unreachable("Not applied yet.");
    } catch (error) {
      if (!(error instanceof ContextdError) && !this.#ended.signal.aborted) throw error;
      return error as Error;
    }
  }

  async #fail(entry: OutboxEntry, error: Error): Promise<void> {
    const { storage, random } = this.#options;
    // What was decided is remembered under its key; what was not may have been done under it.
    const isDecided = error instanceof Problem && error.status < 500 && !error.isPassing;
    await this.#store(() =>
      storage.update({
        ...entry,
        idempotencyKey: isDecided ? randomId(random) : entry.idempotencyKey,
        status: "failed",
        reason: error instanceof Problem ? error.type : error.name,
      }),
    );
    const failed = new SendFailed(entry.id, error);
    tell(this.#errorListeners, failed, entry.chatId);
  }
}
