/** Which key an address brings, and where it is kept. */

import { beforeEach, describe, expect, it, vi } from "vitest";

import { keepKey, readKey, takeKeyOfAddress } from "./key.js";

const replaceState = vi.fn();

function storage(): Pick<Storage, "getItem" | "setItem" | "removeItem"> {
  const items = new Map<string, string>();
  return {
    getItem: (name) => items.get(name) ?? null,
    setItem: (name, value) => void items.set(name, value),
    removeItem: (name) => void items.delete(name),
  };
}

beforeEach(() => {
  vi.stubGlobal("sessionStorage", storage());
  vi.stubGlobal("localStorage", storage());
  vi.stubGlobal("history", { replaceState });
  replaceState.mockReset();
});

function open(hash: string): void {
  vi.stubGlobal("location", { pathname: "/dashboard", search: "?a=b", hash });
  takeKeyOfAddress();
}

describe("the key in the address", () => {
  it.each([
    ["#key=ctxd_1", "ctxd_1"],
    ["#key=a%2Fb%25", "a/b%"],
    ["#key=%zz", "%zz"],
    ["#key=50%", "50%"],
    ["#key=%E2%82%AC", "%E2%82%AC"],
    ["#key=a%0Ab", "a%0Ab"],
  ])("%s brings %s, and does not stay there", (hash, key) => {
    open(hash);
    expect(readKey()).toBe(key);
    expect(replaceState.mock.calls).toEqual([[null, "", "/dashboard?a=b"]]);
  });

  it.each(["", "#/", "#key=", "#key=a b", "#keys=a"])("%s brings none", (hash) => {
    keepKey("before", { forLong: false });
    open(hash);
    expect(readKey()).toBe("before");
    expect(replaceState).not.toHaveBeenCalled();
  });

  it.each([true, false])("is kept for as long as the one before it was: %s", (forLong) => {
    keepKey("before", { forLong });
    open("#key=new");
    expect(localStorage.getItem("contextd.key")).toBe(forLong ? "new" : null);
    expect(sessionStorage.getItem("contextd.key")).toBe(forLong ? null : "new");
  });
});
