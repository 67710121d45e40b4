/** The way in: asks for a key once a gateway wants one. */

import { useSyncExternalStore, type ReactNode } from "react";

import { readKey } from "../common/key.js";
import { SignIn } from "../common/SignIn.js";
import { Dashboard } from "./Dashboard.js";
import type { Session } from "./session.js";

export function Entry({ session }: { readonly session: Session }): ReactNode {
  const means = useSyncExternalStore(session.subscribe, session.means);
  if (means === null) {
    return (
      <SignIn
        wasRefused={readKey() !== ""}
        onKey={() => {
          session.enter();
        }}
      />
    );
  }
  return (
    <Dashboard
      api={means.api}
      watcher={means.watcher}
      onSignOut={() => {
        session.leave();
      }}
    />
  );
}
