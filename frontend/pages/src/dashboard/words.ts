/** Numbers, times and announcements as people read them. */

import type { Told } from "./feed.js";
import type { Timed } from "./wire.js";

const WHOLE = new Intl.NumberFormat("en");
const TENTHS = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const CLOCK = new Intl.DateTimeFormat("en-GB", {
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
});
const DAY = new Intl.DateTimeFormat("en-GB", {
  day: "numeric",
  month: "short",
  hour: "2-digit",
  minute: "2-digit",
});
const UNITS = ["B", "KB", "MB", "GB", "TB"] as const;

export const TIMED_WORDS: Readonly<Record<Timed, string>> = {
  send: "Send",
  poll: "Poll",
  save: "Save",
  first_token: "First token",
};

export const count = (value: number): string => WHOLE.format(value);

export const rate = (value: number): string =>
  value > 0 && value < 0.05 ? "< 0.1" : TENTHS.format(value);

export function milliseconds(ms: number): string {
  if (ms < 10) return `${TENTHS.format(ms)} ms`;
  return ms < 1_000 ? `${WHOLE.format(Math.round(ms))} ms` : `${TENTHS.format(ms / 1_000)} s`;
}

export function bytes(value: number): string {
  let unit = 0;
  let left = value;
  while (left >= 1_000 && unit < UNITS.length - 1) {
    left /= 1_000;
    unit += 1;
  }
  return `${left < 10 ? TENTHS.format(left) : WHOLE.format(Math.round(left))} ${UNITS[unit] ?? ""}`;
}

/** How long, in the largest unit that says enough. */
export function span(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole.toString()} s`;
  if (whole < 3_600) return `${Math.floor(whole / 60).toString()} min`;
  if (whole < 86_400)
    return `${Math.floor(whole / 3_600).toString()} h ${Math.floor((whole % 3_600) / 60).toString()} min`;
  return `${Math.floor(whole / 86_400).toString()} d ${Math.floor((whole % 86_400) / 3_600).toString()} h`;
}

/** The time of day; with the day, where that is another one than today. */
export function clock(at: string | number): string {
  const time = new Date(at);
  if (Number.isNaN(time.getTime())) return "";
  return time.toDateString() === new Date().toDateString()
    ? CLOCK.format(time)
    : DAY.format(time);
}

/** A name of the wire in words. */
export const spoken = (name: string): string => name.replaceAll("_", " ").replaceAll("-", " ");

export type Tone = "plain" | "good" | "warn" | "bad";

export interface Described {
  readonly words: string;
  readonly tone: Tone;
  readonly contextId: string | null;
}

/** An announcement in a sentence. */
export function described({ type, data }: Told): Described {
  const text = (name: string): string => {
    const value = data[name];
    return typeof value === "string" || typeof value === "number" ? String(value) : "";
  };
  const number = (name: string): number => Number(data[name] ?? 0);
  const contextId = text("context_id") === "" ? null : text("context_id");
  const say = (words: string, tone: Tone = "plain"): Described => ({ words, tone, contextId });
  switch (type) {
    case "action_received":
      return say(`${spoken(text("action"))}${data["repeated"] === true ? ", repeated" : ""}`);
    case "turn_started":
      return say("turn started");
    case "turn_ended":
      return say(
        `turn ${text("outcome")} after ${milliseconds(number("duration_ms"))}`,
        text("outcome") === "failed"
          ? "bad"
          : text("outcome") === "completed"
            ? "good"
            : "plain",
      );
    case "approval_requested":
      return say(
        `waits for approval: ${Array.isArray(data["tools"]) ? data["tools"].map(String).join(", ") : "tools"}`,
        "warn",
      );
    case "approval_given":
      return say(`approved ${text("approved")}, denied ${text("denied")}`);
    case "query_complete":
      return say(
        `${spoken(text("kind"))} answered ${text("status")} in ${milliseconds(number("latency_ms"))}`,
      );
    case "worker_joined":
      return say(`${text("worker_id")} joined`, "good");
    case "worker_lost":
      return text("cause") === "died"
        ? say(`${text("worker_id")} died with ${text("contexts")} contexts`, "bad")
        : say(`${text("worker_id")} left`);
    case "context_recovered":
      return say(`taken over by ${text("worker_id")}`, "warn");
    case "restart_requested":
      return say(`restart of ${text("scope")} asked for`, "warn");
    case "restart_progress":
      return data["role"] === null || data["role"] === undefined
        ? say("restart begins", "warn")
        : say(
            `${text("role")} ${text("process_id")} ${text("outcome")}, now ${text("replaced_by") || "none"}`,
            "warn",
          );
    case "restart_complete":
      return say(`restart ${text("status")}`, text("status") === "complete" ? "good" : "bad");
    case "error":
      return say(spoken(text("error")), text("severity") === "warning" ? "warn" : "bad");
    case "missed":
      return say(
        `${count(number("to_seq") - number("from_seq") + 1)} announcements are not kept any more`,
        "warn",
      );
    default:
      return say(spoken(type));
  }
}
