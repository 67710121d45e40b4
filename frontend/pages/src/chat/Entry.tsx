/**
 * The way in: asks for a key once the gateway wants one, and never before.
 *
 * What was written and not sent is kept elsewhere (outbox, drafts): nothing is lost when the
 * key is refused in the middle of a conversation.
 */

import { createClient, type Client } from "@contextd/client";
import { ContextdProvider } from "@contextd/client/react";
import { useEffect, useState, type ReactNode } from "react";

import { readKey } from "../common/key.js";
import { SignIn } from "../common/SignIn.js";
import { App } from "./App.js";

export function Entry(): ReactNode {
  const [isOut, setIsOut] = useState(false);
  const [entered, setEntered] = useState(0);
  const client = useClient(entered, () => { setIsOut(true); });
  if (isOut) {
    return (
      <SignIn
        wasRefused={readKey() !== ""}
        onKey={() => {
          setIsOut(false);
          setEntered((times) => times + 1);
        }}
      />
    );
  }
  if (client === null) return null;
  return (
    <ContextdProvider client={client}>
      <App onSignOut={() => { setIsOut(true); }} />
    </ContextdProvider>
  );
}

/** A client for each time that somebody has come in. */
function useClient(entered: number, onRefused: () => void): Client | null {
  const [client, setClient] = useState<Client | null>(null);
  useEffect(() => {
    const made = createClient({
      baseUrl: location.origin,
      apiKey: readKey,
      fetch: async (...asked) => {
        const response = await fetch(...asked);
        if (response.status === 401) onRefused();
        return response;
      },
    });
    setClient(made);
    return () => {
      setClient(null);
      made.dispose();
    };
    // eslint-disable-next-line react-hooks/exhaustive-deps -- onRefused only sets state
  }, [entered]);
  return client;
}
