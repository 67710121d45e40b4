/** What a page shows of a chat. */

import type { OutboxEntry } from "./outbox/entry.js";
import { SEND_FAILED, type ContextdError } from "./problems.js";
import type { ContextView, DraftView, MessageView, Phase, SendMessage } from "./wire.js";

/** `live`: by a stream; `polling`: by asking; `offline`: nobody answers; `stopped`: nobody asks. */
export type Connection = "stopped" | "connecting" | "live" | "polling" | "offline";

export type TransportName = "websocket" | "sse" | "long-poll" | "poll";

/**
 * One message to show: a committed one, the reply that is arriving, or one that is on its way.
 *
 * `id` is the backend's once it is known; until then it is the `client_message_id`.
 */
export interface ChatMessage {
  readonly id: string;
  readonly role: MessageView["role"];
  readonly content: string;
  readonly createdAt: string;
  /** `sending` and `failed-to-send`: of this client, not known to the backend. */
  readonly status: MessageView["status"] | "streaming" | "sending" | "failed-to-send";
  readonly clientMessageId: string | null;
  /** What to tell the person, where sending has failed. */
  readonly error: string | null;
  /** Why it has failed: a type of problem, such as `body-too-large`, or the name of an error. */
  readonly reason: string | null;
  /** All that the backend says of it; null: not committed. */
  readonly message: MessageView | null;
}

/** Immutable: a change makes another one, and what has not changed is the same object. */
export interface ChatState {
  readonly chatId: string;
  /** The backend's state, as of the newest that was seen; null before anything was. */
  readonly context: ContextView | null;
  readonly status: Phase | null;
  readonly cursor: string | null;
  /** Committed messages, the reply that is arriving, then what is on its way. */
  readonly messages: readonly ChatMessage[];
  readonly connection: Connection;
  /** By which the state is followed. */
  readonly transport: TransportName | null;
  /** There is a newer state than this one, as far as is known, or nobody can tell. */
  readonly isStale: boolean;
  /** The context is deleted, or is not there: nothing more will come. */
  readonly isGone: boolean;
  /** The last one, until something has worked again. */
  readonly error: ContextdError | null;
}

/** What is known of a chat without what this client is still to send. */
export type Seen = Omit<ChatState, "messages" | "status" | "cursor">;

/** Before anything is known. */
export function emptyState(chatId: string): ChatState {
  return {
    chatId,
    context: null,
    status: null,
    cursor: null,
    messages: [],
    connection: "stopped",
    transport: null,
    isStale: true,
    isGone: false,
    error: null,
  };
}

/** The state to show; the one before, where nothing has changed. */
export function shownState(
  before: ChatState,
  seen: Seen,
  pending: readonly OutboxEntry[],
): ChatState {
  const { context } = seen;
  const messages = shownMessages(before.messages, context, pending);
  const after: ChatState = {
    ...seen,
    status: context?.status ?? null,
    cursor: context?.cursor ?? null,
    messages,
  };
  const keys = Object.keys(after) as (keyof ChatState)[];
  return keys.every((key) => after[key] === before[key]) ? before : after;
}

function shownMessages(
  before: readonly ChatMessage[],
  context: ContextView | null,
  pending: readonly OutboxEntry[],
): readonly ChatMessage[] {
  const shown: ChatMessage[] = (context?.messages ?? []).map(committed);
  if (context?.draft) shown.push(arriving(context.draft, context.updated_at));
  const known = new Set<string | null>();
  for (const message of context?.messages ?? []) known.add(message.client_message_id);
  for (const waiting of context?.queue ?? []) known.add(waiting.client_message_id);
  for (const entry of pending) if (!known.has(entry.id)) shown.push(outgoing(entry));
  // The same objects where nothing has changed, so that a page draws only what has.
  const old = new Map(before.map((message) => [message.id, message]));
  const kept = shown.map((message) => {
    const was = old.get(message.id);
    return was !== undefined && isSame(was, message) ? was : message;
  });
  const isUnchanged =
    kept.length === before.length && kept.every((message, at) => message === before[at]);
  return isUnchanged ? before : kept;
}

function isSame(left: ChatMessage, right: ChatMessage): boolean {
  return (Object.keys(left) as (keyof ChatMessage)[]).every((key) => left[key] === right[key]);
}

function committed(message: MessageView): ChatMessage {
  return {
    id: message.id,
    role: message.role,
    content: message.content,
    createdAt: message.created_at,
    status: message.status,
    clientMessageId: message.client_message_id,
    error: null,
    reason: null,
    message,
  };
}

function arriving(draft: DraftView, createdAt: string): ChatMessage {
  return {
    id: draft.message_id,
    role: "assistant",
    content: draft.text,
    createdAt,
    status: "streaming",
    clientMessageId: null,
    error: null,
    reason: null,
    message: null,
  };
}

function outgoing(entry: OutboxEntry): ChatMessage {
  const hasFailed = entry.status === "failed";
  return {
    id: entry.id,
    role: "user",
    content: textOf(entry.body.content),
    createdAt: new Date(entry.createdAtMs).toISOString(),
    status: hasFailed ? "failed-to-send" : "sending",
    clientMessageId: entry.id,
    error: hasFailed ? SEND_FAILED : null,
    reason: entry.reason,
    message: null,
  };
}

function textOf(content: SendMessage["content"]): string {
  if (typeof content === "string") return content;
  const texts = content.map((part) => (part.type === "text" ? part.text : null));
  return texts.filter((text) => text).join("\n");
}
