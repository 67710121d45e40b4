// @vitest-environment happy-dom
/** The examples do what they say. */

import { act } from "react";
import { createRoot } from "react-dom/client";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { ChatPage } from "../examples/chat.js";
import { chatStore } from "../examples/zustand.js";
import type { Client } from "../src/index.js";
import { ContextdProvider } from "../src/react/index.js";
import { CHAT, FakeGateway, problem } from "./fake.js";

let gateway: FakeGateway;
let client: Client;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "Date"] });
  Object.assign(globalThis, { IS_REACT_ACT_ENVIRONMENT: true });
  gateway = new FakeGateway();
  client = gateway.client();
});
afterEach(() => {
  client.dispose();
  vi.useRealTimers();
});

it("a Zustand store shows the chats that are open", async () => {
  gateway.say("One");
  const [store, open] = chatStore(client);
  const close = open(CHAT);
  expect(store.getState().chats[CHAT]?.messages).toEqual([]);
  await vi.advanceTimersByTimeAsync(0);
  expect(store.getState().chats[CHAT]?.messages).toMatchObject([{ content: "One" }]);
  expect(store).not.toHaveProperty("setState");
  close();
  expect(store.getState().chats).toEqual({});
});

/** Draw the page of the example, and do something with it. */
async function onPage(work: (page: HTMLElement) => Promise<void>): Promise<void> {
  const page = document.createElement("div");
  const root = createRoot(page);
  await act(async () => {
    root.render(
      <ContextdProvider client={client}>
        <ChatPage chatId={CHAT} />
      </ContextdProvider>,
    );
    await vi.advanceTimersByTimeAsync(0);
  });
  await work(page);
  await act(() => {
    root.unmount();
    return Promise.resolve();
  });
}

async function does(work: () => unknown): Promise<void> {
  await act(async () => {
    work();
    await vi.advanceTimersByTimeAsync(0);
  });
}

async function says(page: HTMLElement, text: string): Promise<void> {
  await does(() => {
    const input = page.querySelector("input");
    Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, "value")?.set?.call(
      input,
      text,
    );
    input?.dispatchEvent(new Event("input", { bubbles: true }));
  });
  await does(() =>
    page.querySelector("form")?.dispatchEvent(new Event("submit", { bubbles: true })),
  );
}

it("a page in React shows a chat, and what could not be sent", async () => {
  await onPage(async (page) => {
    gateway.override = ({ method }) =>
      method === "POST" ? problem(500, "internal", "Oops.") : undefined;
    await says(page, " ");
    expect(page.querySelector("article")).toBeNull();
    await says(page, "Hello");
    expect(page.querySelector("article")?.textContent).toContain(
      "Failed to send. Please try again.",
    );
    gateway.override = () => undefined;
    await does(() => page.querySelector("button")?.click());
    expect(page.querySelector("article")?.dataset["status"]).toBe("complete");
  });
});

it("a page in React says what was refused", async () => {
  gateway.change({
    pending_tool_calls: [
      {
        id: "call",
        name: "clock",
        arguments: "{}",
        digest: "",
        expires_at: null,
        approval_status: "pending",
      },
    ],
  });
  gateway.override = ({ method }) =>
    method === "POST" ? problem(409, "illegal-in-phase", "Another tab was first.") : undefined;
  await onPage(async (page) => {
    await does(() => page.querySelector("button")?.click());
    expect(page.querySelector("[role=alert]")?.textContent).toBe(
      "Problem: Another tab was first.",
    );
  });
});
