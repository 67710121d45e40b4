/** Dead letters: what was given up, for a person to send once more or to forget. */

import { useState, type ReactNode } from "react";

import { Dialog } from "../common/Dialog.js";
import { Refused, wordsOf, type Api } from "./api.js";
import { useAsking } from "./asking.js";
import { Panel } from "./Panel.js";
import { linkTo } from "./place.js";
import { clock, count, spoken } from "./words.js";
import type { DeadLetter } from "./wire.js";

const EVERY_MS = 5_000;
const PATH = "/admin/dead_letters?limit=100";

interface Decision {
  readonly letter: DeadLetter;
  readonly verb: "retry" | "drop";
}

export function LettersPlace({ api }: { readonly api: Api }): ReactNode {
  const { answer, wrong, isMissing, again } = useAsking<{
    readonly count: number;
    readonly dead_letters: readonly DeadLetter[];
  }>(api, PATH, EVERY_MS);
  const [decision, setDecision] = useState<Decision | null>(null);
  return (
    <Panel title="Dead letters" more={answer === null ? undefined : count(answer.count)}>
      {wrong === null ? null : (
        <p className="said-wrong" role="alert">
          {wrong}
        </p>
      )}
      {isMissing ? <p className="nothing">This gateway keeps no dead letters.</p> : null}
      {answer?.dead_letters.length === 0 ? (
        <p className="nothing">None: nothing was given up.</p>
      ) : null}
      <ul className="letters">
        {answer?.dead_letters.map((letter) => (
          <Letter key={letter.id} letter={letter} onDecide={setDecision} />
        ))}
      </ul>
      {decision === null ? null : (
        <DecisionDialog
          api={api}
          decision={decision}
          onClose={(isDone) => {
            setDecision(null);
            if (isDone) again();
          }}
        />
      )}
    </Panel>
  );
}

function Letter({
  letter,
  onDecide,
}: {
  readonly letter: DeadLetter;
  readonly onDecide: (decision: Decision) => void;
}): ReactNode {
  const what = titleOf(letter);
  return (
    <li data-letter={letter.id}>
      <div className="letter-head">
        <b>{what}</b>
        <a href={linkTo("history", letter.context_id)}>
          <code>{letter.context_id}</code>
        </a>
        <time dateTime={new Date(letter.at_ms).toISOString()}>{clock(letter.at_ms)}</time>
        <span className="dash-space" />
        <button
          type="button"
          className="button button-tiny"
          aria-label={`Retry ${what}`}
          onClick={() => {
            onDecide({ letter, verb: "retry" });
          }}
        >
          Retry
        </button>
        <button
          type="button"
          className="button button-tiny button-bad"
          aria-label={`Drop ${what}`}
          onClick={() => {
            onDecide({ letter, verb: "drop" });
          }}
        >
          Drop
        </button>
      </div>
      <p>{letter.cause}</p>
      {letter.event === null ? null : (
        <details>
          <summary>What it was</summary>
          <pre tabIndex={0}>{JSON.stringify(letter.event, null, 2)}</pre>
        </details>
      )}
    </li>
  );
}

interface DecisionDialogProps {
  readonly api: Api;
  readonly decision: Decision;
  readonly onClose: (isDone: boolean) => void;
}

function DecisionDialog({
  api,
  decision: { letter, verb },
  onClose,
}: DecisionDialogProps): ReactNode {
  const [isAsking, setIsAsking] = useState(false);
  const [wrong, setWrong] = useState<string | null>(null);
  const decide = async (): Promise<void> => {
    setIsAsking(true);
    const path = `/admin/dead_letters/${encodeURIComponent(letter.id)}`;
    try {
      await (verb === "retry" ? api.post(`${path}/retry`, {}) : api.remove(path));
      onClose(true);
    } catch (error) {
      if (error instanceof Refused && error.status === 404) {
        onClose(true); // somebody else has decided
        return;
      }
      setWrong(wordsOf(error));
      setIsAsking(false);
    }
  };
  return (
    <Dialog
      title={verb === "retry" ? "Try again?" : "Drop this letter?"}
      onClose={() => {
        onClose(false);
      }}
      onSubmit={() => void decide()}
      foot={
        <>
          <button
            type="button"
            className="button"
            onClick={() => {
              onClose(false);
            }}
          >
            Cancel
          </button>
          <button
            type="submit"
            className={verb === "retry" ? "button button-main" : "button button-bad"}
            disabled={isAsking}
          >
            {verb === "retry" ? "Retry" : "Drop for ever"}
          </button>
        </>
      }
    >
      <p className="explained">
        {verb === "retry"
          ? `${titleOf(letter)} is sent once more, and the letter is gone. If it ends a worker again, it comes back.`
          : `${titleOf(letter)} is forgotten: it never happens. This cannot be undone.`}
      </p>
      {wrong === null ? null : (
        <p className="said-wrong" role="alert">
          {wrong}
        </p>
      )}
    </Dialog>
  );
}

function titleOf({ action, webhook }: DeadLetter): string {
  if (webhook !== null && webhook !== undefined) return "Webhook";
  return action === null ? "A turn" : spoken(action);
}
