/** What the outbox keeps: messages that are not known to have been taken. */

import type { SendMessage } from "../wire.js";

/** A message on its way. */
export interface OutboxEntry {
  /** The `client_message_id`, unique in the outbox. */
  readonly id: string;
  readonly chatId: string;
  /** Order in the outbox, given by the storage. */
  readonly position: number;
  readonly body: SendMessage;
  /** The same in every try, until the gateway has decided against it. */
  readonly idempotencyKey: string;
  readonly createdAtMs: number;
  /** `failed`: it stays so until it is retried or discarded. */
  readonly status: "waiting" | "failed";
  /** Why it has failed: a type of problem, or the name of an error. */
  readonly reason: string | null;
}

/** Where entries live. Every tab of an origin that shares it sees the same entries. */
export interface OutboxStorage {
  /** All entries, in the order in which they were added. */
  list(): Promise<readonly OutboxEntry[]>;
  /** Keep a new entry, last; rejects where its id is there already. */
  add(entry: Omit<OutboxEntry, "position">): Promise<OutboxEntry>;
  /** Write an entry that is there; one that was removed stays removed. */
  update(entry: OutboxEntry): Promise<void>;
  remove(id: string): Promise<void>;
  /** Be told that another tab has changed something. */
  subscribe(listener: () => void): () => void;
}
