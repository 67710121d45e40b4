/** The values of the wire, by short names. All are generated from the gateway's OpenAPI document. */

import type { components, paths } from "./generated/api.js";

type Schemas = components["schemas"];

/** With every field that an answer has: what is optional to send is always there to read. */
type Complete<T> = { readonly [K in keyof T]-?: T[K] };

export type Config = Omit<Complete<Schemas["Config"]>, "limits" | "tool_policy"> & {
  readonly limits: Complete<Schemas["Limits"]>;
  readonly tool_policy: Complete<Schemas["ToolPolicy"]>;
};
export type ContextView = Omit<Schemas["ContextView"], "config"> & { readonly config: Config };
/** The state is always in it: only with `respond-async`, which is not asked for here, it is not. */
export type ActionResponse = Omit<
  Schemas["ActionResponse"],
  "context" | "status" | "version"
> & {
  readonly context: ContextView;
  readonly status: Phase;
  readonly version: number;
};

export type ActionStatus = Schemas["ActionStatus"];
export type ActionView = Schemas["ActionView"];
export type ContextExport = Schemas["ContextExport"];
export type ContextList = Schemas["ContextList"];
export type ContextSummary = Schemas["ContextSummary"];
export type DraftView = Schemas["DraftView"];
export type ErrorView = Schemas["ErrorView"];
export type EventsPage = Schemas["EventsPage"];
export type LimitsView = Schemas["LimitsView"];
export type LogPage = Schemas["LogPage"];
export type MessageList = Schemas["MessageList"];
export type MessageView = Schemas["MessageView"];
export type PendingToolCallView = Schemas["PendingToolCallView"];
export type Phase = Schemas["Phase"];
export type ProblemDocument = Schemas["ProblemDocument"];
export type QuestionView = Schemas["QuestionView"];
export type QueueEntryView = Schemas["QueueEntryView"];
export type TicketView = Schemas["TicketView"];
export type TurnList = Schemas["TurnList"];
export type Usage = Schemas["Usage"];

export type CreateContext = Schemas["CreateContext"];
export type Fork = Schemas["Fork"];
export type SendMessage = Schemas["SendMessage"];

/** Names of the actions after which a context is another, as in `/actions/{action}`. */
export type ActionName = Exclude<ActionOf<keyof paths>, "fork" | "delete">;
type ActionOf<Path> = Path extends `/api/contexts/{id}/actions/${infer Name}` ? Name : never;

/** The body of an action. */
export type ActionBody<A extends ActionName> =
  NonNullable<paths[`/api/contexts/{id}/actions/${A}`]["post"]["requestBody"]> extends {
    content: { "application/json": infer Body };
  }
    ? Body
    : never;

/** One event as the streams and pages of events show it. */
export interface Frame {
  /** The cursor after it; empty where it moves nothing. */
  readonly id: string;
  readonly event: string;
  readonly data: Readonly<Record<string, unknown>>;
}
