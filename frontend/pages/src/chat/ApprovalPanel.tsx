/** Tool calls that wait for a decision: arguments shown and editable, each or all decided on. */

import type { BackendContextService, ContextView, PendingToolCallView } from "@contextd/client";
import { useState, type ReactNode } from "react";

import { Icon } from "../common/Icon.js";
import { useNotices } from "./notices.js";
import { prettyJson } from "./words.js";

interface ApprovalPanelProps {
  readonly service: BackendContextService;
  readonly context: ContextView;
}

/** What the person has made of the arguments, by call; JSON, once it is valid. */
type Edits = Readonly<Record<string, string>>;
type Arguments = Readonly<Record<string, unknown>>;

export function ApprovalPanel({ service, context }: ApprovalPanelProps): ReactNode {
  const [edits, setEdits] = useState<Edits>({});
  const [isSent, setIsSent] = useState<string | null>(null);
  const { attempt } = useNotices();
  const waiting = context.pending_tool_calls.filter(
    (call) => call.approval_status !== "approved",
  );
  if (waiting.length === 0 || context.status !== "awaiting_tool_approval") return null;

  const decide = async (
    calls: readonly PendingToolCallView[],
    isApproved: boolean,
  ): Promise<void> => {
    setIsSent(context.cursor);
    const ids = calls.map((call) => call.id);
    const changed = calls.flatMap((call) => {
      const edit = edits[call.id];
      return edit === undefined || sameJson(edit, call.arguments)
        ? []
        : [[call.id, JSON.parse(edit) as Arguments] as const];
    });
    const body = isApproved
      ? {
          tool_call_ids: ids,
          ...(changed.length > 0 && { edits: Object.fromEntries(changed) }),
        }
      : { deny: ids.map((id) => ({ id })) };
    if ((await attempt(service.approveToolsAction(context.id, body))) === undefined)
      setIsSent(null);
  };
  const problems = new Map(
    waiting.map((call) => [call.id, problemOf(edits[call.id] ?? call.arguments)]),
  );
  const isBusy = isSent === context.cursor;
  return (
    <section
      className="panel"
      data-kind="approval"
      aria-label="Tools that wait for your approval"
    >
      <div className="panel-head">
        <h3>
          <Icon name="tool" />
          {waiting.length === 1
            ? "A tool waits for your approval"
            : `${waiting.length.toString()} tools wait for your approval`}
        </h3>
        {waiting.length > 1 ? (
          <div className="panel-acts">
            <button
              type="button"
              className="button"
              disabled={isBusy}
              onClick={() => void decide(waiting, false)}
            >
              Deny all
            </button>
            <button
              type="button"
              className="button button-main"
              disabled={isBusy || [...problems.values()].some((problem) => problem !== null)}
              onClick={() => void decide(waiting, true)}
            >
              Approve all
            </button>
          </div>
        ) : null}
      </div>
      <ul>
        {waiting.map((call) => (
          <Call
            key={call.id}
            call={call}
            text={edits[call.id] ?? prettyJson(call.arguments)}
            problem={problems.get(call.id) ?? null}
            isBusy={isBusy}
            onText={(text) => {
              setEdits({ ...edits, [call.id]: text });
            }}
            onDecide={(isApproved) => void decide([call], isApproved)}
          />
        ))}
      </ul>
    </section>
  );
}

interface CallProps {
  readonly call: PendingToolCallView;
  readonly text: string;
  readonly problem: string | null;
  readonly isBusy: boolean;
  readonly onText: (text: string) => void;
  readonly onDecide: (isApproved: boolean) => void;
}

const ROWS_MAX = 10;

function Call({ call, text, problem, isBusy, onText, onDecide }: CallProps): ReactNode {
  const problemId = `problem-${call.id}`;
  return (
    <li className="call" data-call={call.id}>
      <p className="call-name" dir="auto">
        {call.name}
      </p>
      {call.approval_status === "outcome_unknown" ? (
        <p className="said-wrong">
          It was running when its worker died: nobody knows whether it has done its work.
          Approving runs it again.
        </p>
      ) : null}
      <textarea
        className="input json"
        aria-label={`Arguments of ${call.name}`}
        aria-invalid={problem !== null}
        aria-describedby={problem === null ? undefined : problemId}
        spellCheck={false}
        rows={Math.min(ROWS_MAX, text.split("\n").length)}
        value={text}
        onChange={(event) => {
          onText(event.target.value);
        }}
      />
      {problem === null ? null : (
        <p className="said-wrong" id={problemId}>
          {problem}
        </p>
      )}
      <div className="panel-acts">
        <button
          type="button"
          className="button"
          disabled={isBusy}
          onClick={() => {
            onDecide(false);
          }}
        >
          Deny
        </button>
        <button
          type="button"
          className="button button-main"
          disabled={isBusy || problem !== null}
          onClick={() => {
            onDecide(true);
          }}
        >
          Approve
        </button>
      </div>
    </li>
  );
}

/** Why a text cannot be arguments; null: it can. */
function problemOf(text: string): string | null {
  try {
    const value: unknown = JSON.parse(text);
    const isObject = typeof value === "object" && value !== null && !Array.isArray(value);
    return isObject ? null : "Arguments are a JSON object, in braces.";
  } catch (error) {
    return error instanceof SyntaxError
      ? `This is not JSON: ${error.message}`
      : "This is not JSON.";
  }
}

function sameJson(one: string, other: string): boolean {
  return prettyJson(one) === prettyJson(other);
}
