/**
 * Folds what a stream shows into the view of a context. Pure.
 *
 * The view does not hold all that the machine knows (tools and their policies, other lines of
 * the tree), and the machine is not written a second time: what follows from the view alone is
 * folded, exactly as the gateway's mirror does; for the rest the state has to be read.
 */

import { compareCursors, positionOf } from "./cursor.js";
import { derivedId } from "./ids.js";
import { behind, codePoints, upTo } from "./text.js";
import type { components } from "./generated/api.js";
import type { ContextView, Frame, MessageView, QueueEntryView, Usage } from "./wire.js";

type Schemas = components["schemas"];

/** An event of the log, with what its frame says of it. */
type Event<Name extends keyof Schemas> = Schemas[Name] & { readonly at_ms: number };

/** The view that is being made. */
type Next = { -readonly [K in keyof ContextView]: ContextView[K] };

/**
 * The view after a frame; the same object if it has seen the frame.
 *
 * @returns Null where it cannot be told from the view: read the state then.
 */
export function reduce(view: ContextView, frame: Frame): ContextView | null {
  if (frame.event === "snapshot" || frame.event === "reset") {
    const state = frame.event === "reset" ? frame.data["context"] : frame.data;
    const context = state as ContextView;
    return compareCursors(context.cursor, view.cursor) > 0 ? context : view;
  }
  if (compareCursors(frame.id, view.cursor) <= 0) return view;
  if (frame.event === "reply-delta") return appendText(view, frame);
  const [before, after] = [positionOf(view.cursor), positionOf(frame.id)];
  const fold = RULES[frame.event];
  const isNext = before.epoch === after.epoch && before.version + 1 === after.version;
  if (!isNext || fold === undefined) return null;
  const event = frame.data as Event<"PauseRequested">;
  const next: Next = {
    ...view,
    version: after.version,
    cursor: frame.id,
    updated_at: timeOf(Math.max(Date.parse(view.updated_at), event.at_ms)),
  };
  // Of a reply that goes on all must be here that was shown before the event.
  return fold(next, event as never) && (next.draft?.n ?? 0) === after.n ? next : null;
}

/** Changes the view; false: what follows is not in it. */
type Rule<E> = (view: Next, event: E) => boolean;

const RULES: Readonly<Record<string, Rule<never>>> = {
  "message-received": receive,
  "queue-updated": updateQueue,
  "branch-created": createBranch,
  "request-prepared": callModel,
  "reply-started": startReply,
  "reply-ended": endReply,
  "reply-failed": failReply,
  "reply-restarted": restartReply,
  "retry-due": callModel,
  "cancel-requested": cancel,
  "retry-requested": retry,
  "reset-requested": nextTurn,
  "pause-requested": pause,
  "resume-requested": (view) => view.turn_id === null && nextTurn(view),
  "context-renamed": rename,
  "title-made": rename,
  "title-requested": () => true,
  "context-pinned": (view) => pin(view, true),
  "context-unpinned": (view) => pin(view, false),
  "context-deleted": end,
};

// Text

function appendText(view: ContextView, frame: Frame): ContextView | null {
  const { message_id, n, text } = frame.data as unknown as Schemas["ReplyDeltaData"];
  const { draft } = view;
  const [before, after] = [positionOf(view.cursor), positionOf(frame.id)];
  const start = n - codePoints(text);
  const isNext = before.epoch === after.epoch && before.version === after.version;
  // A reply that was never a draft is shown once, whole, before its end.
  if (isNext && draft === null && start === 0) return { ...view, cursor: frame.id };
  if (!isNext || draft?.message_id !== message_id || start > draft.n) return null;
  const whole = draft.text + behind(text, draft.n - start);
  return { ...view, cursor: frame.id, draft: { ...draft, n, text: whole } };
}

// Turns

function receive(view: Next, event: Event<"MessageReceived">): boolean {
  const policy = event.policy ?? view.config.send_policy;
  const cutsIn = policy === "interrupt" || policy === "rollback";
  const isEarly = event.not_before_ms != null && event.not_before_ms > event.at_ms;
  const said: QueueEntryView = {
    id: derivedId(view, view.cursor, updatedMs(view), cutsIn ? 1 : 0),
    content: event.content,
    policy,
    client_message_id: event.client_message_id ?? null,
    not_before: event.not_before_ms == null ? null : timeOf(event.not_before_ms),
  };
  if (isEarly) {
    view.queue = [...view.queue, said];
    return true;
  }
  const scheduled = scheduledOf(view);
  if (scheduled === null || (policy === "rollback" && view.turn_id !== null)) return false;
  const waiting = view.queue.slice(0, view.queue.length - scheduled.length);
  const isAtRest = view.status === "idle" || view.status === "failed";
  if (isAtRest || (cutsIn && view.status !== "paused")) {
    if (waiting.length > 0 && !cutsIn && policy !== "latest") return false;
    if (!keepReply(view, event.partial, "cancelled")) return false;
    if (policy === "latest") view.queue = scheduled;
    return beginTurn(view, said, event);
  }
  if (cutsIn) {
    endTurn(view);
    view.queue = [said, ...view.queue];
    return true;
  }
  view.queue = [...(policy === "latest" ? [] : waiting), said, ...scheduled];
  return true;
}

function beginTurn(view: Next, said: QueueEntryView, event: Event<"MessageReceived">): boolean {
  // What it configures may be a default, which is not in the view.
  if (Object.keys(event.patch ?? {}).length > 0) return false;
  const isAppended = append(view, {
    id: said.id,
    role: "user",
    content: said.content,
    parts: event.parts ?? [],
    created_at: timeOf(event.at_ms),
    client_message_id: said.client_message_id,
    metadata: event.metadata ?? {},
  });
  if (view.title === "") view.title = titleOf(said.content);
  endTurn(view);
  view.turn_id = said.id;
  view.turn_attempt = 1;
  return isAppended && prepare(view);
}

/** Ask the retrievers where there are some, else the model. */
function prepare(view: Next): boolean {
  if (mayBeSummarised(view)) return false;
  callModel(view);
  if (view.config.retrieval.length > 0) view.status = "preparing_request";
  return true;
}

function callModel(view: Next): boolean {
  view.status = "awaiting_llm_response";
  view.error = null;
  view.draft = null;
  return true;
}

/** Begin the turn of what waits, which the view does not show whole, or rest. */
function nextTurn(view: Next): boolean {
  const scheduled = scheduledOf(view);
  if (scheduled?.length !== view.queue.length) return false;
  endTurn(view);
  view.status = "idle";
  view.error = null;
  return true;
}

function endTurn(view: Next): void {
  view.turn_id = null;
  view.turn_attempt = null;
  view.draft = null;
  view.pending_tool_calls = [];
  view.pending_questions = [];
}

function startReply(view: Next, event: Event<"ReplyStarted">): boolean {
  const { turn_attempt: attempt } = view;
  if (attempt === null) return false;
  view.status = "streaming_llm_response";
  view.draft = { message_id: event.message_id, n: 0, text: "", attempt };
  return true;
}

function endReply(view: Next, event: Event<"ReplyEnded">): boolean {
  if ((event.tool_calls ?? []).length > 0) return false;
  const isAppended = append(view, {
    id: event.message_id,
    role: "assistant",
    content: event.text,
    created_at: view.updated_at,
    finish_reason: event.finish_reason ?? "stop",
    model: event.model ?? null,
    usage: event.usage ?? null,
    metadata: event.metadata ?? {},
  });
  if (event.usage) view.usage = sum(view.usage, event.usage);
  return isAppended && nextTurn(view);
}

function failReply(view: Next, event: Event<"ReplyFailed">): boolean {
  const { turn_attempt: attempts } = view;
  if (attempts === null) return false;
  const { attempts_max, backoff_ms_base, backoff_ms_max } = view.config.limits;
  const { code, detail, retryable } = event;
  const error = { code, detail, retryable, attempts, retry_at: null };
  if (!retryable || attempts >= attempts_max) {
    if (!keepReply(view, event.partial, "failed")) return false;
    view.status = "failed";
    view.error = error;
  } else {
    const windowMs = Math.min(backoff_ms_max, backoff_ms_base * 2 ** (attempts - 1));
    const waitMs = Math.trunc(windowMs * (0.5 + (event.jitter ?? 0) / 2));
    const dueMs = updatedMs(view) + Math.max(waitMs, event.retry_after_ms ?? 0);
    view.status = "transient_failure";
    view.error = { ...error, retry_at: timeOf(dueMs) };
    view.turn_attempt = attempts + 1;
  }
  view.draft = null;
  return true;
}

function restartReply(view: Next, event: Event<"ReplyRestarted">): boolean {
  const { turn_attempt: attempt, config } = view;
  const isKept = config.on_takeover === "keep" && Boolean(event.partial);
  if (attempt === null || isKept || attempt >= config.limits.attempts_max) return false;
  view.turn_attempt = attempt + 1;
  return callModel(view);
}

/** Append what had arrived of a reply that has not come to its end. */
function keepReply(
  view: Next,
  partial: string | undefined,
  status: "cancelled" | "failed",
): boolean {
  if (!partial) return true;
  return append(view, {
    id: view.draft?.message_id ?? derivedId(view, view.cursor, updatedMs(view), 0),
    role: "assistant",
    content: partial,
    created_at: view.updated_at,
    status,
    finish_reason: status === "failed" ? "error" : status,
    model: view.config.model,
  });
}

function cancel(view: Next, event: Event<"CancelRequested">): boolean {
  if (!keepReply(view, event.partial, "cancelled")) return false;
  if (view.status !== "paused") return nextTurn(view);
  endTurn(view);
  return true;
}

function retry(view: Next): boolean {
  if (view.turn_id === null) return nextTurn(view);
  // Whether a call, or a retriever, is still to be asked is not in the view.
  if (view.pending_tool_calls.length > 0 || view.pending_questions.length > 0) return false;
  if (view.config.retrieval.length > 0) return false;
  // Nor is whether an unfinished reply is the turn's, and goes, or was there before it.
  const last = view.messages.at(-1);
  if (last?.role === "assistant" && last.status !== "complete") return false;
  view.turn_attempt = 1;
  return prepare(view);
}

function pause(view: Next): boolean {
  view.status = "paused";
  view.draft = null;
  view.error = null;
  return true;
}

function end(view: Next): boolean {
  endTurn(view);
  view.status = "deleted";
  view.queue = [];
  view.error = null;
  return true;
}

// Messages

type Said = Pick<MessageView, "id" | "role" | "content" | "created_at"> & Partial<MessageView>;

/** Append to the line; false where others may stand beside what is appended. */
function append(view: Next, said: Said): boolean {
  const last = view.messages.at(-1);
  // Children are newer than their parents: nothing follows the newest message of all.
  if ((last?.seq ?? 0) !== view.message_count) return false;
  view.message_count += 1;
  const message: MessageView = {
    parts: [],
    tool_calls: [],
    tool_call_id: null,
    status: "complete",
    finish_reason: null,
    client_message_id: null,
    model: null,
    usage: null,
    metadata: {},
    replaces: null,
    copy_of: null,
    ...said,
    seq: view.message_count,
    parent_id: last?.id ?? null,
  };
  view.messages = [...view.messages, message];
  moveHead(view, message.id);
  return true;
}

function moveHead(view: Next, head: string): void {
  const name = view.active_branch;
  const branch = view.branches[name] ?? { head, system_prompt: null };
  view.branches = { ...view.branches, [name]: { ...branch, head } };
}

/** Those that wait for their time; null: the view does not tell them from those in line. */
function scheduledOf(view: Next): readonly QueueEntryView[] | null {
  const scheduled = view.queue.filter(
    ({ not_before }) => not_before !== null && not_before > view.updated_at,
  );
  const rest = view.queue.slice(0, view.queue.length - scheduled.length);
  return rest.every(({ not_before }) => not_before === null) ? scheduled : null;
}

function updateQueue(view: Next, event: Event<"QueueUpdated">): boolean {
  const scheduled = scheduledOf(view);
  if (scheduled === null) return false;
  const removed = new Set(event.remove);
  const isScheduled = new Set(scheduled);
  const edited = (said: QueueEntryView): QueueEntryView => {
    const content = event.edit?.[said.id];
    return content === undefined ? said : { ...said, content };
  };
  const kept = view.queue.filter(({ id }) => !removed.has(id));
  const later = kept.filter((said) => isScheduled.has(said)).map(edited);
  const queue = kept.filter((said) => !isScheduled.has(said)).map(edited);
  for (const [id, place] of Object.entries(event.move ?? {})) {
    const at = queue.findIndex((said) => said.id === id);
    if (at >= 0) queue.splice(place, 0, ...queue.splice(at, 1));
  }
  view.queue = [...queue, ...later];
  return true;
}

function createBranch(view: Next, event: Event<"BranchCreated">): boolean {
  const head = event.from_message_id ?? view.branches[view.active_branch]?.head ?? null;
  const branch = { head, system_prompt: event.system_prompt ?? null };
  view.branches = { ...view.branches, [event.name]: branch };
  return true;
}

// Words

function rename(view: Next, event: Event<"ContextRenamed">): boolean {
  view.title = event.title;
  return true;
}

function pin(view: Next, pinned: boolean): boolean {
  view.pinned = pinned;
  return true;
}

const TITLE_CHARS_MAX = 50;
/** What Python splits words at. */
const SPACE = /[\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+/u;

/** The title that a conversation has until it gets another: how it begins. */
function titleOf(content: string): string {
  return upTo(content.split(SPACE).filter(Boolean).join(" "), TITLE_CHARS_MAX);
}

const CHARS_PER_TOKEN = 4;
const TOKENS_PER_MESSAGE = 4;

/** Whether the line may be too long for the model, as the machine counts. */
function mayBeSummarised(view: Next): boolean {
  let tokens = 0;
  for (const { content, parts } of view.messages) {
    tokens += tokensOf(content);
    for (const { type, text } of parts) {
      if (type === "text_attachment" && typeof text === "string") tokens += tokensOf(text);
    }
  }
  return tokens > view.config.limits.history_tokens_max;
}

function tokensOf(text: string): number {
  return Math.floor(codePoints(text) / CHARS_PER_TOKEN) + TOKENS_PER_MESSAGE;
}

function sum(left: Usage, right: Usage): Usage {
  return {
    prompt_tokens: (left.prompt_tokens ?? 0) + (right.prompt_tokens ?? 0),
    completion_tokens: (left.completion_tokens ?? 0) + (right.completion_tokens ?? 0),
    total_tokens: (left.total_tokens ?? 0) + (right.total_tokens ?? 0),
  };
}

function updatedMs(view: Next): number {
  return Date.parse(view.updated_at);
}

/** RFC 3339 as the wire has it. */
function timeOf(atMs: number): string {
  return new Date(atMs).toISOString();
}
