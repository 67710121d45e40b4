/** Says where what is shown may be behind, and that nothing is lost by it. */

import type { ChatState } from "@contextd/client";
import { useEffect, useState, type ReactNode } from "react";

import { Icon } from "../common/Icon.js";

/** A stream that moves to another gateway is no news. */
const PATIENCE_MS = 1_500;

interface ConnectionBarProps {
  readonly state: ChatState;
  /** Whether it was read, and cannot be opened any more. */
  readonly isUnreadable: boolean;
}

export function ConnectionBar({ state, isUnreadable }: ConnectionBarProps): ReactNode {
  const isOnline = useIsOnline();
  const isOffline = state.connection === "offline" || !isOnline;
  const isAway = isOffline || state.connection === "connecting" || state.isStale;
  const lasts = useLasting(isAway, PATIENCE_MS);
  const isShown = lasts || isOffline;
  return (
    <div className="connection" role="status">
      {isShown || isUnreadable ? (
        <p data-kind={isOffline || isUnreadable ? "offline" : "behind"}>
          <Icon name={isUnreadable ? "warn" : "offline"} />
          {isUnreadable
            ? "This chat cannot be opened any more. Shown is what was read of it before."
            : isOffline
              ? "Offline. What you send is kept and goes out once contextd answers again."
              : "Reconnecting… what is shown may be behind."}
        </p>
      ) : null}
    </div>
  );
}

function useIsOnline(): boolean {
  const [isOnline, setIsOnline] = useState(navigator.onLine);
  useEffect(() => {
    const look = (): void => {
      setIsOnline(navigator.onLine);
    };
    addEventListener("online", look);
    addEventListener("offline", look);
    return () => {
      removeEventListener("online", look);
      removeEventListener("offline", look);
    };
  }, []);
  return isOnline;
}

/** Whether something has been so for a while. */
function useLasting(isSo: boolean, patienceMs: number): boolean {
  const [lasts, setLasts] = useState(false);
  useEffect(() => {
    if (!isSo) return;
    const timer = setTimeout(() => {
      setLasts(true);
    }, patienceMs);
    return () => {
      clearTimeout(timer);
      setLasts(false);
    };
  }, [isSo, patienceMs]);
  return lasts;
}
