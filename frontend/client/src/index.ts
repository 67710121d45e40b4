/** `@contextd/client`: actions done once, state that stays in step, an outbox. */

export { browserOutbox } from "./browser.js";
export { createClient, type Client, type ClientOptions } from "./client.js";
export type { Conflict, ConflictStrategy } from "./conflicts.js";
export type { ApiKey, Debug, WriteOptions } from "./connection.js";
export type { Clock, Locks, Socket, SocketFactory, Visibility } from "./environment.js";
export type { OutboxEntry, OutboxStorage } from "./outbox/entry.js";
export { indexedDbOutbox, type IndexedDbOptions } from "./outbox/indexed-db.js";
export { memoryOutbox } from "./outbox/memory.js";
export type { Outbox, SendOptions } from "./outbox/outbox.js";
export {
  ContextdError,
  NotUnderstood,
  Problem,
  SEND_FAILED,
  SendFailed,
  Unreachable,
} from "./problems.js";
export { reduce } from "./reduce.js";
export type {
  ActionOptions,
  BackendContextService,
  ChatPage,
  PageOptions,
  ReadOptions,
} from "./service.js";
export type { ChatMessage, ChatState, Connection, TransportName } from "./state.js";
export type { ChatStateSync, SyncOptions } from "./sync.js";
export type * from "./wire.js";
