/** Messages that wait for the reply's end: to change, move and take out. */

import type {
  ActionBody,
  BackendContextService,
  ContextView,
  QueueEntryView,
} from "@contextd/client";
import { useState, type ReactNode } from "react";

import { Icon } from "../common/Icon.js";
import { EditForm } from "./EditForm.js";
import { useNotices } from "./notices.js";
import { wholeTime } from "./words.js";

interface QueuePanelProps {
  readonly service: BackendContextService;
  readonly context: ContextView;
}

export function QueuePanel({ service, context }: QueuePanelProps): ReactNode {
  const { attempt } = useNotices();
  const { queue } = context;
  if (queue.length === 0) return null;
  const update = (body: ActionBody<"update_queue">): void =>
    void attempt(service.updateQueue(context.id, body));
  const inTurn = queue.filter((entry) => entry.not_before === null).length;
  return (
    <section className="panel" data-kind="queue" aria-label="Messages that wait">
      <h3>
        {queue.length === 1 ? "1 message waits" : `${queue.length.toString()} messages wait`}
      </h3>
      <ol>
        {queue.map((entry, place) => (
          <Waiting
            key={entry.id}
            entry={entry}
            place={place}
            places={inTurn}
            onUpdate={update}
          />
        ))}
      </ol>
    </section>
  );
}

interface WaitingProps {
  readonly entry: QueueEntryView;
  readonly place: number;
  readonly places: number;
  readonly onUpdate: (body: ActionBody<"update_queue">) => void;
}

function Waiting({ entry, place, places, onUpdate }: WaitingProps): ReactNode {
  const [isEditing, setIsEditing] = useState(false);
  if (isEditing) {
    return (
      <li>
        <EditForm
          text={entry.content}
          onClose={() => {
            setIsEditing(false);
          }}
          onText={(text) => {
            setIsEditing(false);
            onUpdate({ edit: { [entry.id]: text } });
          }}
        />
      </li>
    );
  }
  return (
    <li className="waiting" data-waiting={entry.id}>
      <span className="waiting-text" dir="auto">
        {entry.content}
      </span>
      {entry.not_before === null ? null : (
        <time dateTime={entry.not_before}>{wholeTime(entry.not_before)}</time>
      )}
      {entry.not_before !== null || places < 2 ? null : (
        <>
          <button
            type="button"
            className="button-icon button-small"
            aria-label="Earlier"
            disabled={place === 0}
            onClick={() => {
              onUpdate({ move: { [entry.id]: place - 1 } });
            }}
          >
            <Icon name="up" />
          </button>
          <button
            type="button"
            className="button-icon button-small"
            aria-label="Later"
            disabled={place === places - 1}
            onClick={() => {
              onUpdate({ move: { [entry.id]: place + 1 } });
            }}
          >
            <Icon name="down" />
          </button>
        </>
      )}
      <button
        type="button"
        className="button-icon button-small"
        aria-label="Edit"
        onClick={() => {
          setIsEditing(true);
        }}
      >
        <Icon name="edit" />
      </button>
      <button
        type="button"
        className="button-icon button-small"
        aria-label="Remove"
        onClick={() => {
          onUpdate({ remove: [entry.id] });
        }}
      >
        <Icon name="close" />
      </button>
    </li>
  );
}
