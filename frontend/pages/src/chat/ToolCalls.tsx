/** The tool calls of a reply: a line each, opened for arguments and result. */

import type { MessageView } from "@contextd/client";
import type { ReactNode } from "react";

import { Icon } from "../common/Icon.js";
import type { Results } from "./MessageList.js";
import { prettyJson } from "./words.js";

interface ToolCallsProps {
  readonly calls: MessageView["tool_calls"];
  readonly results: Results;
}

export function ToolCalls({ calls, results }: ToolCallsProps): ReactNode {
  return (
    <ul className="calls">
      {calls.map((call) => {
        const result = results.get(call.id);
        return (
          <li key={call.id}>
            <details>
              <summary>
                <Icon name="tool" />
                <span className="call-name" dir="auto">
                  {call.name}
                </span>
                <span className="call-state">{result === undefined ? "waiting" : "done"}</span>
                <Icon name="down" />
              </summary>
              <h4>Arguments</h4>
              <pre tabIndex={0} aria-label="Arguments" dir="auto">
                {prettyJson(call.arguments)}
              </pre>
              {result === undefined ? null : (
                <>
                  <Changed result={result} />
                  <h4>Result</h4>
                  <pre tabIndex={0} aria-label="Result" dir="auto">
                    {prettyJson(result.content)}
                  </pre>
                </>
              )}
            </details>
          </li>
        );
      })}
    </ul>
  );
}

/** The arguments that it ran with, where the person who approved it had changed them. */
function Changed({ result }: { readonly result: MessageView }): ReactNode {
  const { approval } = result.metadata;
  if (typeof approval !== "object" || approval === null || !("arguments" in approval))
    return null;
  return (
    <>
      <h4>Changed to</h4>
      <pre tabIndex={0} aria-label="Changed to" dir="auto">
        {prettyJson(String(approval.arguments))}
      </pre>
    </>
  );
}
