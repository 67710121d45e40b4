/**
 * The API key of this browser: in the tab, or in the browser if the person wants that.
 *
 * An address may bring one behind its `#`, which no server ever sees; it is taken out of the
 * address and the history before anything else happens.
 */

const NAME = "contextd.key";
const IN_ADDRESS = /^#key=([\x21-\x7e]+)$/;

export function takeKeyOfAddress(): void {
  const brought = IN_ADDRESS.exec(location.hash)?.[1];
  if (brought === undefined) return;
  history.replaceState(null, "", location.pathname + location.search);
  keepKey(decodeURIComponent(brought), { forLong: localStorage.getItem(NAME) !== null });
}

export function readKey(): string {
  return sessionStorage.getItem(NAME) ?? localStorage.getItem(NAME) ?? "";
}

export function keepKey(key: string, { forLong }: { readonly forLong: boolean }): void {
  forgetKey();
  (forLong ? localStorage : sessionStorage).setItem(NAME, key);
}

export function forgetKey(): void {
  sessionStorage.removeItem(NAME);
  localStorage.removeItem(NAME);
}
