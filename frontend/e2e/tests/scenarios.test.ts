/** The scenarios that every frontend of contextd has to show, by their names. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { until } from "../support/contextd.js";
import { suite } from "../support/suite.js";

const POLLING = { kept: { "contextd.transport": "poll" } };
const SEND = "**/actions/send_message";
const STATE = /^GET \/api\/contexts\/[\w-]+\/state/;

suite("scenarios", (stage) => {
  test("send optimistic: a message is shown before the gateway has it", async () => {
    const chat = await stage.chat("Optimistic");
    const person = await stage.arrive();
    await person.open(chat);
    let release = (): void => undefined;
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    await person.page.route(SEND, async (route) => {
      await held;
      await route.continue();
    });
    await person.write("Shown at once");
    await person.page
      .locator(".message[data-status=sending]", { hasText: "Shown at once" })
      .waitFor();
    assert.equal((await stage.state(chat)).context.messages.length, 0);
    release();
    await person.page
      .locator(".message[data-status=complete]", { hasText: "Shown at once" })
      .waitFor();
    await person.answered(1);
    assert.deepEqual(await person.said("user"), ["Shown at once"]);
    await person.leave();
  });

  test("failure rollback: what was not sent says so, and Retry sends it once", async () => {
    const chat = await stage.chat("Rollback");
    const person = await stage.arrive();
    await person.open(chat);
    const problem = {
      type: "/problems/internal",
      title: "Internal",
      status: 500,
      detail: "No.",
      request_id: "r",
    };
    await person.page.route(SEND, (route) =>
      route.fulfill({
        status: 500,
        contentType: "application/problem+json",
        body: JSON.stringify(problem),
      }),
    );
    await person.write("Does not get through");
    const failed = person.page.locator(".message[data-status=failed-to-send]");
    await failed.waitFor({ timeout: 60_000 });
    assert.match(await failed.innerText(), /Failed to send\. Please try again\./);
    assert.equal((await stage.state(chat)).context.messages.length, 0);
    await person.page.unroute(SEND);
    await failed.getByRole("button", { name: "Retry" }).click();
    await person.rests();
    await until("it was answered", async () => (await person.said("assistant")).length === 1);
    assert.deepEqual(await person.said("user"), ["Does not get through"]);
    assert.deepEqual(
      (await stage.state(chat)).context.messages.map((message) => message.content)[0],
      "Does not get through",
    );
    await person.leave();
  });

  test("backend differs: what the backend says replaces what was shown", async () => {
    const chat = await stage.chat("Differs", "One");
    const person = await stage.arrive();
    await person.open(chat);
    await person.page.route(SEND, async (route) => {
      const body = JSON.parse(route.request().postData() ?? "{}") as object;
      await route.continue({
        postData: JSON.stringify({ ...body, content: "What the backend has" }),
      });
    });
    await person.write("What the browser has");
    await person.page
      .locator(".message[data-status=complete]", { hasText: "What the backend has" })
      .waitFor();
    await person.rests();
    assert.deepEqual(await person.said("user"), ["One", "What the backend has"]);
    await person.leave();
  });

  test("poll active: an open chat that is polled shows what others say", async () => {
    const chat = await stage.chat("Polled", "One");
    const person = await stage.arrive(POLLING);
    await person.open(chat);
    await stage.say(chat, "From elsewhere");
    await person.page
      .locator(".message[data-role=user]", { hasText: "From elsewhere" })
      .waitFor();
    await until(
      "the reply is there",
      async () => (await person.said("assistant")).length === 2,
    );
    assert.ok(person.count(STATE) >= 2);
    await person.leave();
  });

  test("reconcile with scroll and badge: who reads further up stays there, and is told", async () => {
    const chat = await stage.chat(
      "Long",
      ...Array.from({ length: 6 }, (_, n) => `Part ${n.toString()}\n/chunks 150 0`),
    );
    const person = await stage.arrive();
    await person.open(chat);
    const box = person.page.locator(".scroller");
    await until("it begins at the end", async () =>
      box.evaluate((e) => e.scrollHeight - e.scrollTop - e.clientHeight < 3),
    );
    await box.hover();
    await person.page.mouse.wheel(0, -700);
    await person.page.locator(".to-end").waitFor();
    const top = await box.evaluate((element) => element.scrollTop);
    await stage.say(chat, "News\n/chunks 50 0");
    await person.page.locator(".to-end", { hasText: "2 new" }).waitFor();
    assert.equal(await box.evaluate((element) => element.scrollTop), top);
    await person.page.locator(".to-end").click();
    await until("it is at the end", async () =>
      box.evaluate((e) => e.scrollHeight - e.scrollTop - e.clientHeight < 3),
    );
    assert.equal(await person.page.locator(".to-end").count(), 0);
    await stage.say(chat, "More\n/chunks 150 0");
    await until(
      "it stays at the end",
      async () =>
        (await person.said("user")).includes("More\n/chunks 150 0") &&
        (await box.evaluate((e) => e.scrollHeight - e.scrollTop - e.clientHeight < 3)),
    );
    await person.leave();
  });

  test("inactive stop: a page that nobody looks at asks for nothing", async () => {
    const chat = await stage.chat("Hidden", "One");
    const person = await stage.arrive(POLLING);
    await person.open(chat);
    await until("it polls", () => person.count(STATE) > 1);
    await person.hide(true);
    await person.page.waitForLoadState("networkidle");
    const before = person.asked.length;
    await stage.say(chat, "While nobody looks");
    await person.page.clock.install();
    await person.page.clock.runFor(120_000);
    assert.deepEqual(person.asked.slice(before), []);
    await person.hide(false);
    await person.page.locator(".message", { hasText: "While nobody looks" }).first().waitFor();
    await person.leave();
  });

  test("back-off: after ten unchanged polls each 2 s, then slower up to 5 s, and 1 s again on a change", async () => {
    const chat = await stage.chat("Back-off", "One");
    const person = await stage.arrive(POLLING);
    await person.page.clock.install();
    await person.open(chat);
    await until("the first answer is there", () => person.count(STATE) > 0);
    /** Seconds until the next poll. */
    const gap = async (): Promise<number> => {
      await person.page.waitForLoadState("networkidle");
      const before = person.count(STATE);
      for (let seconds = 1; seconds <= 10; seconds += 1) {
        await person.page.clock.runFor(1_000);
        if (person.count(STATE) > before) {
          await person.page.waitForTimeout(60); // the answer's way back, in real time
          return seconds;
        }
      }
      return Number.POSITIVE_INFINITY;
    };
    const gaps: number[] = [];
    for (let n = 0; n < 40; n += 1) gaps.push(await gap());
    const [ones, rest] = [gaps.indexOf(2), gaps.slice(gaps.indexOf(2))];
    assert.ok(ones >= 8 && ones <= 11, `1 s first: ${gaps.join(" ")}`);
    assert.deepEqual(
      [...new Set(rest)],
      [2, 3, 4, 5].filter((pace) => rest.includes(pace)),
      gaps.join(" "),
    );
    assert.equal(rest.at(-1), 5);
    await stage.say(chat, "A change");
    await gap();
    assert.equal(await gap(), 1);
    await person.leave();
  });

  test("load on mount: a chat comes from the backend when it is opened", async () => {
    const chat = await stage.chat("Loaded", "Said before");
    const person = await stage.arrive();
    await person.open(chat);
    await person.page.locator(".message[data-role=user]", { hasText: "Said before" }).waitFor();
    assert.deepEqual(await person.said("user"), ["Said before"]);
    assert.equal((await person.said("assistant")).length, 1);
    await person.leave();
  });

  test("no manual persistence calls: the page sends actions and nothing else", async () => {
    const chat = await stage.chat("Actions only");
    const person = await stage.arrive();
    await person.open(chat);
    await person.write("One");
    await person.answered(1);
    await person.write("Two");
    await person.answered(2);
    const writes = person.asked.filter((each) => !/^(GET|HEAD|OPTIONS) /.test(each));
    const allowed = /^POST \/api\/(tickets|contexts\/[\w-]+\/actions\/send_message)$/;
    assert.deepEqual(
      writes.filter((each) => !allowed.test(each)),
      [],
    );
    assert.equal(writes.filter((each) => each.endsWith("send_message")).length, 2);
    await person.leave();
  });

  test("backend overrides local: two tabs that differ come to the same", async () => {
    const chat = await stage.chat("Overrides", "One");
    const person = await stage.arrive();
    await person.open(chat);
    await person.context.setOffline(true);
    await stage.say(chat, "Two");
    await stage.contextd.api("POST", `/api/contexts/${chat}/actions/rename`, {
      title: "Another title",
    });
    await person.context.setOffline(false);
    await person.page.locator(".head h2", { hasText: "Another title" }).waitFor();
    await until(
      "it shows what the backend has",
      async () => (await person.said("user")).join() === "One,Two",
    );
    await person.leave();
  });

  test("temp id replaced: the message stays where it is, under the backend's id and time", async () => {
    const chat = await stage.chat("Ids");
    const person = await stage.arrive();
    await person.open(chat);
    await person.write("Whose id is it?");
    await person.answered(1);
    const shown = person.page.locator(".message[data-role=user]");
    const [message] = (await stage.state(chat)).context.messages;
    assert.ok(message !== undefined);
    assert.equal(await shown.count(), 1);
    assert.equal(await shown.getAttribute("data-message"), message.id);
    assert.notEqual(message.client_message_id, message.id);
    assert.equal(await shown.locator("time").getAttribute("datetime"), message.created_at);
    await person.leave();
  });

  test("history from backend only: nothing that was said is in the browser's storage", async () => {
    const chat = await stage.chat("Kept where", "A secret word: xyzzy-plugh");
    const person = await stage.arrive();
    await person.open(chat);
    await person.write("Another one: frobozz-magic");
    await person.answered(2);
    const kept = await person.page.evaluate(async () => {
      const entries: string[] = [
        JSON.stringify(Object.entries(localStorage)),
        JSON.stringify(Object.entries(sessionStorage)),
      ];
      for (const { name } of await indexedDB.databases()) {
        const database = await new Promise<IDBDatabase>((resolve) => {
          const opening = indexedDB.open(name ?? "");
          opening.onsuccess = () => {
            resolve(opening.result);
          };
        });
        for (const store of database.objectStoreNames) {
          const reading = database.transaction(store).objectStore(store).getAll();
          await new Promise((resolve) => {
            reading.onsuccess = resolve;
          });
          entries.push(JSON.stringify(reading.result));
        }
        database.close();
      }
      return entries.join("\n");
    });
    assert.doesNotMatch(kept, /xyzzy-plugh|frobozz-magic/);
    await person.leave();
  });

  test("stale local ignored: an answer that was overtaken changes nothing", async () => {
    const chat = await stage.chat("Overtaken", "One");
    const person = await stage.arrive(POLLING);
    await person.open(chat);
    let release = (): void => undefined;
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    const old = await stage.contextd.api("GET", `/api/contexts/${chat}/state`);
    let answered = 0;
    await stage.say(chat, "Two");
    await person.page.locator(".message", { hasText: "Two" }).first().waitFor();
    await person.page.route("**/state*", async (route) => {
      answered += 1;
      if (answered === 1) release();
      await route.fulfill({
        status: 200,
        contentType: "application/json",
        headers: { ETag: `"${old.context.cursor}"` },
        body: JSON.stringify(old),
      });
    });
    await held;
    await until("more of them have come", () => answered > 2);
    assert.deepEqual(await person.said("user"), ["One", "Two"]);
    await person.leave();
  });
});
