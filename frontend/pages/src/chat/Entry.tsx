/** The way in: asks for a key once the gateway wants one, and never before. */

import { ContextdProvider } from "@contextd/client/react";
import { useSyncExternalStore, type ReactNode } from "react";

import { readKey } from "../common/key.js";
import { SignIn } from "../common/SignIn.js";
import { App } from "./App.js";
import type { Session } from "./session.js";

export function Entry({ session }: { readonly session: Session }): ReactNode {
  const client = useSyncExternalStore(session.subscribe, session.client);
  if (client === null) {
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
    <ContextdProvider client={client}>
      <App
        onSignOut={() => {
          session.leave();
        }}
      />
    </ContextdProvider>
  );
}
