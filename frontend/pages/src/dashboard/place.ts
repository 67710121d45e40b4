/** Where on the page one is; kept in the address, so that it can be sent to a colleague. */

import { useSyncExternalStore } from "react";

export const PLACES = {
  overview: "Overview",
  activity: "Activity",
  contexts: "Contexts",
  letters: "Dead letters",
  history: "Time travel",
} as const;
export type Place = keyof typeof PLACES;

export interface Address {
  readonly place: Place;
  /** Of the time travel; empty: none is chosen. */
  readonly contextId: string;
}

export function addressOf(hash: string): Address {
  const [, place = "", id = ""] = hash.split("/");
  return { place: isPlace(place) ? place : "overview", contextId: decoded(id) };
}

export const linkTo = (place: Place, contextId = ""): string =>
  contextId === "" ? `#/${place}` : `#/${place}/${encodeURIComponent(contextId)}`;

export function useAddress(): Address {
  return addressOf(useSyncExternalStore(listen, () => location.hash));
}

function listen(listener: () => void): () => void {
  addEventListener("hashchange", listener);
  return () => {
    removeEventListener("hashchange", listener);
  };
}

function isPlace(name: string): name is Place {
  return Object.hasOwn(PLACES, name);
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return "";
  }
}
