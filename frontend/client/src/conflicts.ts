/** What to do where something else has happened meanwhile: a stale `If-Match`, or another phase. */

import { Problem } from "./problems.js";
import type { ActionOptions } from "./service.js";
import type { ActionResponse, ContextView } from "./wire.js";

/** An action that was refused because the context is not as its sender believed. */
export interface Conflict<Body> {
  readonly problem: Problem;
  readonly body: Body;
  /** As it is now. */
  readonly context: ContextView;
}

/**
 * - `server-wins`: the action is given up; the `Problem` that is thrown has the present `context`.
 * - `rebase`: the same action again, on the state as it is now.
 * - a function: it asks (a person, perhaps), and returns the body to send, or null to give up.
 */
export type ConflictStrategy<Body> =
  "server-wins" | "rebase" | ((conflict: Conflict<Body>) => Body | null | Promise<Body | null>);

/** How often one action is sent anew, before the server wins. */
export const REBASES_MAX = 3;

/** Send an action, and do as its strategy says where it meets a conflict. */
export async function resolveConflicts<Body>(
  body: Body,
  options: ActionOptions<Body>,
  send: (body: Body, options: ActionOptions<Body>) => Promise<ActionResponse>,
  read: () => Promise<ActionResponse>,
): Promise<ActionResponse> {
  const { onConflict = "server-wins", idempotencyKey, ...rest } = options;
  let sent = body;
  let tried: ActionOptions<Body> =
    idempotencyKey === undefined ? rest : { ...rest, idempotencyKey };
  for (let rebases = 0; ; rebases += 1) {
    try {
      return await send(sent, tried);
    } catch (error) {
      if (!(error instanceof Problem) || !error.isConflict) throw error;
      const { context } = await read();
      const problem = new Problem(error.document, context);
      const isSettled = error.status === 409 && error.version === context.version;
      if (rebases === REBASES_MAX || onConflict === "server-wins") throw problem;
      if (onConflict === "rebase") {
        if (isSettled) throw problem; // in the same state it would be refused again
      } else {
        const changed = await onConflict({ problem, body: sent, context });
        if (changed === null) throw problem;
        sent = changed;
      }
      // A refusal is remembered under its key: what is sent now is another action.
      tried = options.ifCursor === undefined ? rest : { ...rest, ifCursor: context.cursor };
    }
  }
}
