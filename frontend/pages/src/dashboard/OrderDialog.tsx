/** Restart or drain, once somebody has written that they mean it. */

import { useState, type ReactNode } from "react";

import { Dialog } from "../common/Dialog.js";
import { Refused, wordsOf, type Api } from "./api.js";
import type { ProcessStats, RestartScope } from "./wire.js";

export type Order =
  { readonly kind: "restart" } | { readonly kind: "drain"; readonly process: ProcessStats };

interface OrderDialogProps {
  readonly api: Api;
  readonly order: Order;
  readonly onClose: () => void;
  readonly onBegun: (restartId: string) => void;
}

const SCOPES: Readonly<Record<RestartScope, string>> = {
  all: "All processes",
  gateways: "Gateways",
  workers: "Workers",
};

export function OrderDialog({ api, order, onClose, onBegun }: OrderDialogProps): ReactNode {
  const [scope, setScope] = useState<RestartScope>("all");
  const [isForced, setIsForced] = useState(false);
  const [written, setWritten] = useState("");
  const [isAsking, setIsAsking] = useState(false);
  const [wrong, setWrong] = useState<string | null>(null);
  const word = order.kind;
  const isMeant = written.trim().toLowerCase() === word;

  const give = async (): Promise<void> => {
    if (!isMeant || isAsking) return;
    setIsAsking(true);
    setWrong(null);
    try {
      const body =
        order.kind === "restart"
          ? { scope, force: isForced }
          : {
              scope: `${order.process.role}s`,
              process: `${order.process.host}:${order.process.process_id.toString()}`,
              force: isForced,
            };
      const { restart_id } = await api.post<{ readonly restart_id: string }>(
        `/admin/${order.kind}`,
        body,
      );
      onBegun(restart_id);
    } catch (error) {
      setWrong(refusal(error, order));
      setIsAsking(false);
    }
  };

  return (
    <Dialog
      title={
        order.kind === "restart"
          ? "Restart contextd"
          : `Drain ${order.process.role} ${order.process.process_id.toString()}`
      }
      onClose={onClose}
      onSubmit={() => void give()}
      foot={
        <>
          <button type="button" className="button" onClick={onClose}>
            Cancel
          </button>
          <button type="submit" className="button button-bad" disabled={!isMeant || isAsking}>
            {order.kind === "restart" ? "Restart" : "Drain"}
          </button>
        </>
      }
    >
      <p className="explained">
        {order.kind === "restart"
          ? "Processes are replaced one after another. Each new one serves before the old one drains: no connection is refused, no action is lost, streams go on by themselves."
          : "The process takes nothing new, hands over what it has, and ends. Nothing takes its place until the next restart."}
      </p>
      {order.kind === "restart" ? (
        <fieldset className="scopes">
          <legend>What</legend>
          {(Object.keys(SCOPES) as RestartScope[]).map((each) => (
            <label key={each} className="check">
              <input
                type="radio"
                name="scope"
                checked={each === scope}
                onChange={() => {
                  setScope(each);
                }}
              />
              {SCOPES[each]}
            </label>
          ))}
        </fieldset>
      ) : null}
      <label className="check">
        <input
          type="checkbox"
          checked={isForced}
          onChange={(event) => {
            setIsForced(event.target.checked);
          }}
        />
        Do not wait for turns that run: kill, others take over
      </label>
      <label className="field">
        <span>
          Write <code>{word}</code> to go on
        </span>
        <input
          className="input"
          autoFocus
          autoComplete="off"
          spellCheck={false}
          value={written}
          onChange={(event) => {
            setWritten(event.target.value);
          }}
        />
      </label>
      {wrong === null ? null : (
        <p className="said-wrong" role="alert">
          {wrong}
        </p>
      )}
    </Dialog>
  );
}

function refusal(error: unknown, order: Order): string {
  if (!(error instanceof Refused)) return wordsOf(error);
  if (order.kind === "drain" && error.isMissing)
    return "This gateway cannot drain single processes.";
  const busy = Object.entries(error.problem.active_contexts ?? {}).map(
    ([worker, number]) => `${worker}: ${number.toString()}`,
  );
  return busy.length === 0 ? error.message : `${error.message} (${busy.join(", ")})`;
}
