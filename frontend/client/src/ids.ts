/** Ids made here, and the one that the backend derives from the event that makes a message. */

import { positionOf } from "./cursor.js";
import type { ContextView } from "./wire.js";

/** A random UUID (version 4). `random` draws from [0, 1). */
export function randomId(random: () => number): string {
  const words = Array.from({ length: 4 }, () => hex(Math.floor(random() * 2 ** 32), 8));
  const digits = words.join("");
  const variant = hex(8 + Math.floor(random() * 4), 1);
  return (
    `${digits.slice(0, 8)}-${digits.slice(8, 12)}-4${digits.slice(13, 16)}-` +
    `${variant}${digits.slice(17, 20)}-${digits.slice(20)}`
  );
}

/**
 * The id of message number `index` that the event behind `cursor` has made: a UUIDv7 of the
 * event's time and version and of the context's id.
 */
export function derivedId(
  context: ContextView,
  cursor: string,
  atMs: number,
  index: number,
): string {
  const { version } = positionOf(cursor);
  const origin = context.origins.find((from) => version <= from.version);
  const madeIn = origin?.context_id ?? context.id;
  const tail = BigInt(`0x${madeIn.slice(-12)}`) ^ BigInt(version);
  const at = hex(atMs, 12);
  return (
    `${at.slice(0, 8)}-${at.slice(8)}-7${hex(index, 3)}-` +
    `${madeIn.slice(19, 23)}-${tail.toString(16).padStart(12, "0")}`
  );
}

function hex(value: number, digits: number): string {
  return value.toString(16).padStart(digits, "0");
}
