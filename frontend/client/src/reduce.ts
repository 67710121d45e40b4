/** Folds what a stream shows into the view of a context. Pure. */

import { compareCursors } from "./cursor.js";
import type { ContextView, Frame } from "./wire.js";

/**
 * The view after a frame.
 *
 * @returns Null where the view does not tell all that the machine knows, and a frame is missing
 *   before this one: then the state has to be read.
 */
export function reduce(view: ContextView, frame: Frame): ContextView | null {
  return compareCursors(frame.id, view.cursor) <= 0 ? view : null;
}
