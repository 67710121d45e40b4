/** The way in: asks for a key once the gateway wants one, and never before. */

import { ContextdProvider } from "@contextd/client/react";
import { useSyncExternalStore, type ReactNode } from "react";

import { forgetKey, readKey } from "../common/key.js";
import { Mark, SignIn } from "../common/SignIn.js";
import { AccountContext } from "./account.js";
import { openChat } from "./address.js";
import { App } from "./App.js";
import type { Session } from "./session.js";

export function Entry({ session }: { readonly session: Session }): ReactNode {
  const presence = useSyncExternalStore(session.subscribe, session.presence);
  const signOut = (): void => {
    forgetKey();
    openChat(null);
    session.leave();
  };
  switch (presence.kind) {
    case "out":
      return (
        <SignIn
          wasRefused={readKey() !== ""}
          onKey={() => {
            session.enter();
          }}
        />
      );
    case "coming":
      return <Coming trouble={presence.trouble} onSignOut={signOut} />;
    case "in":
      return (
        <AccountContext key={presence.account} value={presence.account}>
          <ContextdProvider client={presence.client}>
            <App onSignOut={signOut} />
          </ContextdProvider>
        </AccountContext>
      );
  }
}

interface ComingProps {
  readonly trouble: string | null;
  readonly onSignOut: () => void;
}

function Coming({ trouble, onSignOut }: ComingProps): ReactNode {
  if (trouble === null) return <main className="blank" aria-busy="true" />;
  return (
    <main className="blank">
      <Mark />
      <p role="alert">{trouble}</p>
      {readKey() === "" ? null : (
        <button type="button" className="button" onClick={onSignOut}>
          Sign out
        </button>
      )}
    </main>
  );
}
