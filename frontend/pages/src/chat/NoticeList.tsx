/** The notices, in a corner; read out where somebody listens. */

import { useEffect, type ReactNode } from "react";

import { Icon } from "../common/Icon.js";
import { useNotices, type Notice } from "./notices.js";

const SHOWN_MS = 8_000;

export function NoticeList(): ReactNode {
  const { shown, dismiss } = useNotices();
  return (
    <div className="notices" role="status">
      {shown.map((notice) => (
        <One key={notice.id} notice={notice} onDismiss={dismiss} />
      ))}
    </div>
  );
}

function One({
  notice,
  onDismiss,
}: {
  readonly notice: Notice;
  readonly onDismiss: (id: number) => void;
}): ReactNode {
  useEffect(() => {
    const timer = setTimeout(() => {
      onDismiss(notice.id);
    }, SHOWN_MS);
    return () => {
      clearTimeout(timer);
    };
  }, [notice.id, onDismiss]);
  return (
    <div className="notice">
      <Icon name="warn" />
      <p dir="auto">{notice.text}</p>
      <button
        type="button"
        className="button-icon button-small"
        aria-label="Dismiss"
        onClick={() => {
          onDismiss(notice.id);
        }}
      >
        <Icon name="close" />
      </button>
    </div>
  );
}
