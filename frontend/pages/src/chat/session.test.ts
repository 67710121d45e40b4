/** Whose words are whose, where several keys are used in one browser. */

import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import { forgetKey, keepKey, readAccount } from "../common/key.js";
import { Session } from "./session.js";

class FakeStorage {
  readonly #items = new Map<string, string>();
  getItem(name: string): string | null {
    return this.#items.get(name) ?? null;
  }
  setItem(name: string, value: string): void {
    this.#items.set(name, value);
  }
  removeItem(name: string): void {
    this.#items.delete(name);
  }
}

const OWNERS: Readonly<Record<string, string>> = { "ada-1": "ada", "ada-2": "ada", bob: "bob" };
let asked: string[];
let answer: (key: string) => Response;

function problem(status: number, detail: string): Response {
  return Response.json(
    { type: "/problems/x", title: "", status, detail, request_id: "r" },
    { status, headers: { "Content-Type": "application/problem+json" } },
  );
}

beforeEach(() => {
  vi.useFakeTimers();
  vi.stubGlobal("sessionStorage", new FakeStorage());
  vi.stubGlobal("localStorage", new FakeStorage());
  vi.stubGlobal("location", { origin: "http://gateway" });
  asked = [];
  answer = (key) =>
    key in OWNERS ? Response.json({ owner: OWNERS[key] }) : problem(401, "No key.");
  vi.stubGlobal("fetch", (address: string, { headers }: RequestInit) => {
    const key = new Headers(headers).get("Authorization")?.replace("Bearer ", "") ?? "";
    asked.push(`${key} ${address.replace("http://gateway", "")}`);
    return Promise.resolve(answer(key));
  });
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

async function entered(key: string): Promise<Session> {
  keepKey(key, { forLong: false });
  const session = new Session();
  session.enter();
  await vi.advanceTimersByTimeAsync(0);
  return session;
}

function accountOf(session: Session): string | null {
  const presence = session.presence();
  return presence.kind === "in" ? presence.account : null;
}

describe("whose key it is", () => {
  it("is asked once, and is the same for another key of the same owner", async () => {
    const session = await entered("ada-1");
    expect([accountOf(session), readAccount(), asked]).toEqual([
      "ada",
      "ada",
      ["ada-1 /api/limits"],
    ]);
    session.enter(); // as after a reload
    expect([accountOf(session), asked.length]).toEqual(["ada", 1]);
    expect(accountOf(await entered("ada-2"))).toBe("ada");
  });

  it("is asked anew for another key, and forgotten with the key", async () => {
    await entered("ada-1");
    forgetKey();
    expect(readAccount()).toBeNull();
    expect(accountOf(await entered("bob"))).toBe("bob");
  });

  it("is not asked of the browser's key for a tab's own", async () => {
    const session = await entered("ada-1");
    localStorage.setItem("contextd.key", "bob"); // another tab signs in for long
    localStorage.setItem("contextd.account", "bob");
    session.enter();
    expect([accountOf(session), readAccount()]).toEqual(["ada", "ada"]);
  });

  it("is asked again while nobody answers, and a refusal is told in its own words", async () => {
    answer = () => problem(403, "This needs the scope contexts:read.");
    const session = await entered("bob");
    expect(session.presence()).toMatchObject({
      kind: "coming",
      trouble: "This needs the scope contexts:read.",
    });
    answer = () => Response.json({ owner: "bob" });
    await vi.advanceTimersByTimeAsync(5_000);
    expect(accountOf(session)).toBe("bob");
  });
});

describe("a key that is no longer kept", () => {
  it("is used for nothing more, and nothing of its owner's goes out under another", async () => {
    const session = await entered("ada-1");
    const presence = session.presence();
    if (presence.kind !== "in") throw new Error("Nobody is in.");
    keepKey("bob", { forLong: false });
    const late = presence.client.service.createChat({}, { tries: 1 });
    await expect(late).rejects.toThrow("Nobody answers.");
    await vi.advanceTimersByTimeAsync(0);
    expect(accountOf(session)).toBe("bob");
    const later = presence.client.service.createChat({}, { tries: 1 });
    await expect(later).rejects.toThrow("Nobody answers.");
    expect(asked).toEqual(["ada-1 /api/limits", "bob /api/limits"]);
  });

  it("leads to the form where it is taken no more", async () => {
    const session = await entered("revoked");
    expect(session.presence()).toEqual({ kind: "out" });
  });
});
