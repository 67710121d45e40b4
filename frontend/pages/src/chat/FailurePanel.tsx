/** Why a turn did not come to its end, and what can be done. */

import type { BackendContextService, ContextView } from "@contextd/client";
import type { ReactNode } from "react";

import { Icon } from "../common/Icon.js";
import { useNotices } from "./notices.js";

interface FailurePanelProps {
  readonly service: BackendContextService;
  readonly context: ContextView;
}

export function FailurePanel({ service, context }: FailurePanelProps): ReactNode {
  const { attempt } = useNotices();
  const { error, status } = context;
  if (error === null || (status !== "failed" && status !== "transient_failure")) return null;
  const isPassing = status === "transient_failure";
  return (
    <section
      className="failure"
      data-kind={isPassing ? "passing" : "failed"}
      aria-label="What went wrong"
    >
      <Icon name="warn" />
      <div>
        <h3>
          {isPassing
            ? `The model did not answer (${error.attempts.toString()}×); it is asked again soon`
            : "The reply failed"}
        </h3>
        <p dir="auto">{error.detail}</p>
        <div className="panel-acts">
          <button
            type="button"
            className="button"
            onClick={() => void attempt(service.reset(context.id))}
          >
            Give up
          </button>
          <button
            type="button"
            className="button button-main"
            onClick={() => void attempt(service.retry(context.id))}
          >
            <Icon name="retry" />
            {isPassing ? "Try now" : "Try again"}
          </button>
        </div>
      </div>
    </section>
  );
}
