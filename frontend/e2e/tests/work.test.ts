/** What people do with chats: approve, queue, edit, configure, search, sign in. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { until } from "../support/contextd.js";
import { suite } from "../support/suite.js";

const CALLS = '/tool calculator {"expression": "1+1"}\n/tool calculator {"expression": "2+2"}';

suite("work", (stage) => {
  test("a first message makes a chat, once, with a title of its own", async () => {
    const person = await stage.arrive();
    await person.write("What is a log?\nIn two sentences");
    await person.answered(1);
    const { context } = await stage.state(person.chatId);
    assert.equal(context.title, "What is a log?");
    await person.page.locator(".context", { hasText: "What is a log?" }).waitFor();
    await person.leave();
  });

  test("a first message that fails is kept, and Retry makes one chat", async () => {
    const person = await stage.arrive();
    const before = (await stage.contextd.api("GET", "/api/contexts?limit=200")).contexts.length;
    const making = (url: URL): boolean => url.pathname === "/api/contexts";
    let sent = 0;
    await person.page.route(making, async (route) => {
      if (route.request().method() !== "POST") {
        await route.continue();
        return;
      }
      sent += 1;
      // Taken by the server, and the answer lost on its way.
      await route.fetch();
      await route.fulfill({
        status: 500,
        contentType: "application/problem+json",
        body: JSON.stringify({
          type: "/problems/internal",
          title: "",
          status: 500,
          detail: "",
          request_id: "r",
        }),
      });
    });
    await person.write("Only once");
    await person.page
      .getByText("Failed to send. Please try again.")
      .waitFor({ timeout: 60_000 });
    assert.ok(sent >= 1);
    await person.page.unroute(making);
    await person.page.getByRole("button", { name: "Retry" }).click();
    await person.answered(1);
    const after = (await stage.contextd.api("GET", "/api/contexts?limit=200")).contexts.length;
    assert.equal(after, before + 1);
    await person.leave();
  });

  test("what is too long to be sent says so where it ends, and is written anew", async () => {
    const chat = await stage.chat("Too long", "Short");
    const person = await stage.arrive();
    const long = "What? ".repeat(20_000).trim();
    const refusal = person.page.getByText("Not sent: it is too long.");
    const writeAnew = async (): Promise<void> => {
      await refusal.waitFor();
      await until("it is seen", () =>
        refusal.evaluate((element) => {
          const shown = element.closest(".scroller")?.getBoundingClientRect();
          return shown !== undefined && element.getBoundingClientRect().bottom <= shown.bottom;
        }),
      );
      await person.page.getByRole("button", { name: "Edit" }).last().click();
      await refusal.waitFor({ state: "detached" });
    };
    await person.write(long);
    await writeAnew();
    assert.equal(await person.page.locator("#composer").inputValue(), long);
    await person.page.locator("#composer").fill("");
    await person.open(chat);
    await person.write(long);
    await refusal.waitFor();
    await person.page.locator("#composer").fill("Begun meanwhile");
    await writeAnew();
    assert.equal(
      await person.page.locator("#composer").inputValue(),
      `${long}\nBegun meanwhile`,
    );
    await person.write("In short");
    await person.answered(2);
    assert.deepEqual(await person.said("user"), ["Short", "In short"]);
    await person.leave();
  });

  test("tool calls: arguments are edited as JSON, one is approved and one denied", async () => {
    const chat = await stage.chat("Tools");
    const person = await stage.arrive();
    await person.open(chat);
    await person.write(CALLS);
    const calls = person.page.locator(".panel .call");
    await calls.nth(1).waitFor();
    const first = calls.nth(0);
    await first.locator("textarea").fill('{"expression": "20+');
    await first.getByText(/This is not JSON/).waitFor();
    assert.equal(await first.getByRole("button", { name: "Approve" }).isDisabled(), true);
    assert.equal(
      await person.page.getByRole("button", { name: "Approve all" }).isDisabled(),
      true,
    );
    await first.locator("textarea").fill('["20+3"]');
    await first.getByText("Arguments are a JSON object, in braces.").waitFor();
    await first.locator("textarea").fill('{"expression": "20+3"}');
    await first.getByRole("button", { name: "Approve" }).click();
    await until("one is left", async () => (await calls.count()) === 1);
    await calls.first().getByRole("button", { name: "Deny" }).click();
    await person.rests();
    await until("the tools' answers were used", async () =>
      (await person.said("assistant")).some((text) => text.includes("23")),
    );
    const tools = (await stage.state(chat)).context.messages.filter(
      (message) => message.role === "tool",
    );
    assert.equal(tools.length, 2);
    assert.equal(
      tools.some((message) => message.content === "4"),
      false,
    );
    await person.page.locator(".calls summary").first().click();
    assert.match(await person.page.getByLabel("Changed to").innerText(), /20\+3/);
    await person.leave();
  });

  test("tool calls: all are approved at once", async () => {
    const chat = await stage.chat("All tools");
    const person = await stage.arrive();
    await person.open(chat);
    await person.write(CALLS);
    await person.page.getByRole("button", { name: "Approve all" }).click();
    await until("both have run", async () =>
      (await person.said("assistant")).some((text) => /2[^]*4/.test(text)),
    );
    await person.leave();
  });

  test("a question of the model is answered by a button", async () => {
    const chat = await stage.chat("Question");
    const person = await stage.arrive();
    await person.open(chat);
    await person.write(
      '/tool ask_person {"question": "Window or aisle?", "options": ["Window", "Aisle"]}',
    );
    await person.page.getByRole("heading", { name: "Window or aisle?" }).waitFor();
    await person.page.getByRole("button", { name: "Aisle" }).click();
    await until("it was answered", async () =>
      (await person.said("assistant")).some((text) => text.includes("Aisle")),
    );
    await person.leave();
  });

  test("the queue: messages that wait are edited, moved and removed", async () => {
    const chat = await stage.chat("Queue");
    const person = await stage.arrive();
    await person.open(chat);
    await person.write("/chunks 2000 30");
    await person.page.locator(".conversation[data-status=streaming_llm_response]").waitFor();
    for (const text of ["one", "two", "three"]) await person.write(text);
    const waiting = person.page.locator(".waiting");
    const texts = async (): Promise<string> =>
      (await waiting.locator(".waiting-text").allInnerTexts()).join();
    await until("they wait", async () => (await texts()) === "one,two,three");
    await waiting.nth(2).getByRole("button", { name: "Earlier" }).click();
    await until("it has moved", async () => (await texts()) === "one,three,two");
    await waiting.nth(0).getByRole("button", { name: "Remove" }).click();
    await until("it is gone", async () => (await texts()) === "three,two");
    await waiting.nth(1).getByRole("button", { name: "Edit" }).click();
    await person.page.getByLabel("New text").fill("two, other");
    await person.page.getByLabel("New text").press("Enter");
    await until("it is another", async () => (await texts()) === "three,two, other");
    await person.page.getByRole("button", { name: "Stop the reply" }).click();
    await person.answered(2);
    assert.deepEqual((await person.said("user")).slice(1), ["three", "two, other"]);
    await person.page.getByText("Stopped").waitFor();
    await person.leave();
  });

  test("a message during a reply: this one stops it", async () => {
    const chat = await stage.chat("Interrupt");
    const person = await stage.arrive();
    await person.open(chat);
    await person.write("/chunks 2000 30");
    await person.page.locator(".conversation[data-status=streaming_llm_response]").waitFor();
    await person.page.locator("#composer").fill("Shorter");
    await person.page.getByLabel("During the reply").selectOption("interrupt");
    await person.page.locator("#composer").press("Enter");
    await person.answered(1);
    assert.equal(await person.page.locator(".message[data-status=cancelled]").count(), 1);
    await person.leave();
  });

  test("edit and regenerate make versions, and the switcher leads back", async () => {
    const chat = await stage.chat("Versions", "Old question");
    const person = await stage.arrive();
    await person.open(chat);
    const question = person.page.locator(".message[data-role=user]");
    await question.hover();
    await question.getByRole("button", { name: "Edit" }).click();
    await person.page.getByLabel("New text").fill("New question");
    await person.page.getByLabel("New text").press("Enter");
    await question.getByText("2/2").waitFor();
    await person.answered(1);
    assert.deepEqual(await person.said("user"), ["New question"]);
    await question.getByRole("button", { name: "Previous version" }).click();
    await question.getByText("1/2").waitFor();
    assert.deepEqual(await person.said("user"), ["Old question"]);
    const reply = person.page.locator(".message[data-role=assistant]");
    await reply.hover();
    await reply.getByRole("button", { name: "Regenerate" }).click();
    await reply.getByText("2/2").waitFor();
    await person.leave();
  });

  test("a chat that has become shorter than its place is seen to its end", async () => {
    const chat = await stage.chat("Shorter", "Old question", "/chunks 900 0");
    const person = await stage.arrive({ viewport: { width: 1280, height: 500 } });
    await person.open(chat);
    const question = person.page.locator(".message[data-role=user]").first();
    await question.hover();
    await person.page.getByRole("button", { name: "Newest" }).waitFor();
    await question.getByRole("button", { name: "Edit" }).click();
    await person.page.getByLabel("New text").fill("New question");
    await person.page.getByLabel("New text").press("Enter");
    await question.getByText("2/2").waitFor();
    await person.answered(1);
    await person.page.getByRole("button", { name: "Newest" }).waitFor({ state: "detached" });
    await person.leave();
  });

  test("who stops a reply with the mouse goes on writing", async () => {
    const chat = await stage.chat("Stopped");
    const person = await stage.arrive();
    await person.open(chat);
    await person.write("/chunks 500 50");
    await person.page.getByText("chunk 3").waitFor();
    await person.page.getByRole("button", { name: "Stop the reply" }).click();
    await person.rests();
    await person.page.keyboard.type("Shorter");
    assert.equal(await person.page.locator("#composer").inputValue(), "Shorter");
    await person.leave();
  });

  test("a reply that failed is tried again", async () => {
    const chat = await stage.chat("Failing");
    const person = await stage.arrive();
    await person.open(chat);
    await person.write("/fail bad_request 1");
    await person.page.getByRole("heading", { name: "The reply failed" }).waitFor();
    await person.page.getByRole("button", { name: "Give up" }).click();
    await person.rests();
    await person.page.locator(".failure").waitFor({ state: "detached" });
    await person.leave();
  });

  test("settings: what has changed is kept, and refused where it is wrong", async () => {
    const chat = await stage.chat("Settings");
    const person = await stage.arrive();
    await person.open(chat);
    const open = (): Promise<void> =>
      person.page.getByRole("button", { name: "Settings of this chat" }).click();
    await open();
    await person.page.getByLabel("System prompt").fill("Be brief.");
    await person.page.getByLabel("Temperature").fill("9");
    await person.page.getByText("The temperature is a number from 0 to 2.").waitFor();
    await person.page.getByLabel("Temperature").fill("0.5");
    await person.page.getByLabel("A message during a reply").selectOption("steer");
    await person.page.getByRole("button", { name: "Save" }).click();
    await person.page.locator("dialog").waitFor({ state: "detached" });
    const { config } = (await stage.state(chat)).context;
    assert.deepEqual(
      [config["system_prompt"], config["parameters"], config["send_policy"]],
      ["Be brief.", { temperature: 0.5 }, "steer"],
    );
    await open();
    assert.equal(await person.page.getByLabel("Temperature").inputValue(), "0.5");
    await person.leave();
  });

  test("the list: rename, pin, search, delete, and badges of what goes on elsewhere", async () => {
    const [one, other] = [await stage.chat("Alpha list"), await stage.chat("Beta list")];
    const person = await stage.arrive();
    await person.open(one);
    const row = (id: string) => person.page.locator(`[data-chat="${id}"]`);
    const choose = async (id: string, item: string): Promise<void> => {
      await row(id).hover();
      await row(id)
        .getByRole("button", { name: /^Menu of/ })
        .click();
      await person.page.getByRole("menuitem", { name: item }).click();
    };
    await choose(other, "Rename");
    await person.page.getByLabel("Title").fill("Gamma list");
    await person.page.getByRole("button", { name: "Rename" }).click();
    await row(other).getByText("Gamma list").waitFor();
    await choose(one, "Pin");
    await until(
      "the pinned one is first",
      async () =>
        (await person.page.locator(".context").first().getAttribute("data-chat")) === one,
    );
    await stage.say(other, "Something new");
    await person.page.locator(`[data-chat="${other}"][data-badge=unread]`).waitFor();
    await stage.say(other, '/tool calculator {"expression": "1"}');
    await person.page.locator(`[data-chat="${other}"][data-badge=asking]`).waitFor();
    await person.page.keyboard.press("Control+k");
    await person.page.keyboard.type("gamma");
    await until(
      "one is found",
      async () => (await person.page.locator(".context").count()) === 1,
    );
    await person.page.keyboard.press("Enter");
    await until("it is open", () => person.chatId === other);
    await person.page.getByRole("searchbox").fill("");
    await choose(one, "Delete");
    await person.page.getByRole("button", { name: "Delete", exact: true }).click();
    await row(one).waitFor({ state: "detached" });
    await assert.rejects(stage.state(one), /404/);
    await person.leave();
  });

  test("a draft is there again after a reload, and Alt+N, ? and Escape do what the sheet says", async () => {
    const chat = await stage.chat("Drafts");
    const person = await stage.arrive();
    await person.open(chat);
    await person.page.locator("#composer").fill("Half a thought");
    await person.page.reload();
    assert.equal(await person.page.locator("#composer").inputValue(), "Half a thought");
    await person.page.keyboard.press("Alt+n");
    await person.page.getByText("What is on your mind?").waitFor();
    await person.page.locator("#composer").blur();
    await person.page.keyboard.press("?");
    await person.page.getByRole("heading", { name: "Keyboard shortcuts" }).waitFor();
    await person.page.keyboard.press("Escape");
    await person.page.locator("dialog").waitFor({ state: "detached" });
    await person.leave();
  });

  test("signing in: the key leaves the address, a wrong one is refused, a revoked one asks again", async () => {
    const context = await stage.browser.newContext();
    const page = await context.newPage();
    await page.goto(stage.contextd.url);
    await page.getByLabel("API key").fill("ctxd_wrong");
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.getByText("This key opens nothing").waitFor();
    await page.getByLabel("API key").fill(stage.contextd.key);
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.locator("#composer").waitFor();
    await page.reload();
    await page.locator("#composer").waitFor();
    const brought = await context.newPage();
    const seen: string[] = [];
    brought.on("request", (request) => seen.push(request.url()));
    await brought.goto(`${stage.contextd.url}/#key=${stage.contextd.key}`);
    await brought.locator("#composer").waitFor();
    assert.equal(
      await brought.evaluate(() => location.href + JSON.stringify(history.state)),
      `${stage.contextd.url}/null`,
    );
    assert.equal(
      seen.some((url) => url.includes("ctxd_")),
      false,
    );
    assert.equal(await brought.evaluate(() => localStorage.getItem("contextd.key")), null);
    await brought.locator("#composer").fill("Not lost");
    await brought.evaluate(() => {
      sessionStorage.setItem("contextd.key", "ctxd_revoked");
    });
    await brought.getByText("This key opens nothing").waitFor({ timeout: 30_000 });
    await brought.getByLabel("API key").fill(stage.contextd.key);
    await brought.getByRole("button", { name: "Sign in" }).click();
    await brought.locator("#composer").waitFor();
    assert.equal(await brought.locator("#composer").inputValue(), "Not lost");
    await context.close();
  });

  test("signing out: nobody gets what another account has not sent, and it is there when that comes back", async () => {
    const chat = await stage.chat("Of the first account", "Hello");
    const bobsKey = stage.contextd.newKey("bob");
    const person = await stage.arrive();
    const { page } = person;
    const composer = page.locator("#composer");
    const signIn = async (key: string): Promise<void> => {
      await page.getByRole("button", { name: "Sign out" }).click();
      await person.context.setOffline(false);
      await page.getByLabel("API key").fill(key);
      await page.getByRole("button", { name: "Sign in" }).click();
      await page.getByRole("button", { name: "Sign out" }).waitFor();
    };
    await composer.fill("A draft of a new chat");
    await person.open(chat);
    await person.answered(1);
    await person.context.setOffline(true);
    await person.write("Not sent yet");
    await page.locator(".message[data-status=sending]").waitFor();
    await composer.fill("A draft");
    await signIn(bobsKey);
    assert.equal(new URL(page.url()).hash, "#/");
    assert.equal(await composer.inputValue(), "");
    await page.evaluate((id) => {
      location.hash = `/chats/${id}`;
    }, chat);
    await page.getByText("This chat is not there").waitFor();
    assert.equal(await page.getByText("Not sent yet").count(), 0);
    assert.equal((await stage.state(chat)).context.messages.length, 2);
    const seen = await page.evaluate(() => localStorage.getItem("contextd.seen.bob"));
    assert.equal(seen?.includes(chat) ?? false, false);
    await person.context.setOffline(true);
    await signIn(stage.contextd.key);
    assert.equal(await composer.inputValue(), "A draft of a new chat");
    await person.open(chat);
    await person.answered(2);
    assert.deepEqual(await person.said("user"), ["Hello", "Not sent yet"]);
    assert.equal(await composer.inputValue(), "A draft");
    await person.leave();
  });
});

suite(
  "without keys",
  (stage) => {
    test("nothing is asked where nobody needs a key", async () => {
      const page = await stage.browser.newPage();
      await page.goto(stage.contextd.url);
      await page.locator("#composer").fill("Hello");
      await page.locator("#composer").press("Enter");
      await page.locator(".message[data-role=assistant][data-status=complete]").waitFor();
      assert.equal(await page.getByRole("button", { name: "Sign out" }).count(), 0);
      await page.close();
    });
  },
  { auth: "off" },
);
