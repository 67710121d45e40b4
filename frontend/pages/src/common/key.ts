/**
 * The API key of this browser: in the tab, or in the browser if the person wants that.
 *
 * An address may bring one behind its `#`, which no server ever sees; it is taken out of the
 * address and the history before anything else happens. Beside the key stays whose it is.
 */

const NAME = "contextd.key";
const ACCOUNT = "contextd.account";
const IN_ADDRESS = /^#key=([\x21-\x7e]+)$/;
const KEY = /^[\x21-\x7e]+$/;

export function takeKeyOfAddress(): void {
  const brought = IN_ADDRESS.exec(location.hash)?.[1];
  if (brought === undefined) return;
  history.replaceState(null, "", location.pathname + location.search);
  keepKey(decoded(brought), { forLong: localStorage.getItem(NAME) !== null });
}

/** What encodes no key stays as it stands: the gateway refuses it, and the page says so. */
function decoded(brought: string): string {
  try {
    const key = decodeURIComponent(brought);
    return KEY.test(key) ? key : brought;
  } catch {
    return brought;
  }
}

export function readKey(): string {
  return keptIn().getItem(NAME) ?? "";
}

/** Whose the key is; null: nobody has asked yet. */
export function readAccount(): string | null {
  return keptIn().getItem(ACCOUNT);
}

export function keepAccount(owner: string): void {
  keptIn().setItem(ACCOUNT, owner);
}

export function keepKey(key: string, { forLong }: { readonly forLong: boolean }): void {
  forgetKey();
  (forLong ? localStorage : sessionStorage).setItem(NAME, key);
}

export function forgetKey(): void {
  for (const storage of [sessionStorage, localStorage]) {
    storage.removeItem(NAME);
    storage.removeItem(ACCOUNT);
  }
}

/** A tab's own key comes before that of the browser. */
function keptIn(): Storage {
  const isOfBrowser =
    sessionStorage.getItem(NAME) === null && localStorage.getItem(NAME) !== null;
  return isOfBrowser ? localStorage : sessionStorage;
}
