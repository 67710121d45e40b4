/** What the page says of states, troubles and times. */

import { Problem, SEND_FAILED, type ContextSummary, type Phase } from "@contextd/client";

import type { ListEntry } from "./listing.js";

/** What somebody who looks at the list needs to know of a chat. */
export type Badge = "running" | "asking" | "failed" | "paused" | "unread" | null;

const WORDS: Readonly<Record<Phase, string>> = {
  idle: "",
  preparing_request: "Looking things up",
  awaiting_llm_response: "Thinking",
  streaming_llm_response: "Replying",
  awaiting_tool_approval: "Waiting for approval",
  awaiting_answer: "Has a question",
  executing_tools: "Using tools",
  transient_failure: "Trying again soon",
  failed: "Failed",
  paused: "Paused",
  deleted: "Deleted",
};

const RUNNING: ReadonlySet<Phase> = new Set<Phase>([
  "preparing_request",
  "awaiting_llm_response",
  "streaming_llm_response",
  "executing_tools",
  "transient_failure",
]);

/** Whether the turn goes on by itself. */
export function isRunning(phase: Phase | null): boolean {
  return phase !== null && RUNNING.has(phase);
}

/** Whether a turn is under way that can be stopped. */
export function isAtWork(phase: Phase | null): boolean {
  return isRunning(phase) || phase === "awaiting_tool_approval" || phase === "awaiting_answer";
}

export function badgeOf(context: ContextSummary, isUnread: boolean): Badge {
  if (isRunning(context.status)) return "running";
  if (context.status === "awaiting_tool_approval" || context.status === "awaiting_answer")
    return "asking";
  if (context.status === "failed") return "failed";
  if (isUnread) return "unread";
  return context.status === "paused" ? "paused" : null;
}

export function statusWords(phase: Phase): string {
  return WORDS[phase];
}

/** Why something that is tried again by itself has not worked. */
export function troubleOf(error: unknown): string {
  if (error instanceof Problem) return error.detail || error.title;
  return "contextd does not answer. This is tried again by itself.";
}

const NOT_SENT: Readonly<Record<string, string>> = {
  "body-too-large": "Not sent: it is too long.",
  "queue-full": "Not sent: too many messages wait already.",
  "quota-exceeded": "Not sent: you have used as much as you may for now.",
  "quota-full": "Not sent: you have as much as you may.",
  forbidden: "Not sent: your key may only read.",
  unreadable: "Not sent: this chat cannot be opened now.",
};

/** Why a message was not sent, by the type of problem; null: nobody has said. */
export function notSent(reason: string | null): string {
  return NOT_SENT[reason ?? ""] ?? SEND_FAILED;
}

export function titleOf(context: { readonly title: string } | null): string {
  return context === null || context.title.trim() === "" ? "Untitled chat" : context.title;
}

/** What the list calls a chat. */
export function nameOf(context: ListEntry): string {
  return context.status === "unreadable" ? "Cannot be opened" : titleOf(context);
}

/** When something happened in it last, or else when it was made: its id, a UUIDv7, says that. */
export function timeOf(context: ListEntry): string {
  if (context.status !== "unreadable") return context.updated_at;
  return new Date(Number.parseInt(context.id.replace("-", "").slice(0, 12), 16)).toISOString();
}

const CLOCK = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const DAY = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const WHOLE = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

/** The time of day, or the day where that is another one than today. */
export function shortTime(at: string): string {
  const time = new Date(at);
  return time.toDateString() === new Date().toDateString()
    ? CLOCK.format(time)
    : DAY.format(time);
}

export function wholeTime(at: string): string {
  return WHOLE.format(new Date(at));
}

/** JSON as people read it; what is none stays as it is. */
export function prettyJson(text: string): string {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}
