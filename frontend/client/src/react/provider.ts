/** Which client the hooks below it use. */

import { createContext, createElement, useContext, type ReactNode } from "react";
import type { Client } from "../client.js";

const Provided = createContext<Client | null>(null);

/** Give a client to all hooks below. */
export function ContextdProvider(props: {
  readonly client: Client;
  readonly children?: ReactNode;
}): ReactNode {
  return createElement(Provided, { value: props.client }, props.children);
}

/** The client that was given. */
export function useClient(): Client {
  const client = useContext(Provided);
  if (client === null) throw new Error("There is no ContextdProvider above.");
  return client;
}
