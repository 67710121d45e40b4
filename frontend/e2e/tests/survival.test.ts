/** Reloads, tabs, networks, processes: whatever happens, everybody sees the same one history. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { until } from "../support/contextd.js";
import { suite } from "../support/suite.js";

const MOMENTS = Number(process.env["MOMENTS"] ?? "50");
/** The whole of a reply of the scripted model. */
const chunks = (count: number): string =>
  Array.from({ length: count }, (_, n) => `chunk ${(n + 1).toString()}`).join(" ");

suite("survival", (stage) => {
  test("refresh in mid-stream: the reply goes on where it was", async () => {
    const chat = await stage.chat("Refresh");
    const person = await stage.arrive();
    await person.open(chat);
    await person.write("/chunks 60 40");
    await until(
      "it streams",
      async () => (await person.said("assistant"))[0]?.includes("chunk 8") === true,
    );
    await person.page.reload();
    await until(
      "the text is there again",
      async () => (await person.said("assistant"))[0]?.includes("chunk 8") === true,
    );
    await person.answered(1);
    assert.deepEqual(await person.said("assistant"), [chunks(60)]);
    await person.leave();
  });

  test(`reload at ${MOMENTS.toString()} random moments: nothing is lost and nothing doubled`, async () => {
    const reply = chunks(800);
    const chat = await stage.chat("Moments");
    const [person, undisturbed] = [await stage.arrive(), await stage.arrive()];
    await Promise.all([person.open(chat), undisturbed.open(chat)]);
    let replies = 0;
    // However slow the machine is: as many replies as it takes for all reloads to be in one.
    for (let reloads = 0; reloads < MOMENTS;) {
      await undisturbed.write("/chunks 800 25");
      replies += 1;
      await undisturbed.page.locator(".message[data-status=streaming]").waitFor();
      while (reloads < MOMENTS) {
        const text = (await person.said("assistant"))[replies - 1] ?? "";
        assert.ok(
          reply.startsWith(text),
          `after ${reloads.toString()} reloads: ${text.slice(-200)}`,
        );
        await person.page.waitForTimeout(Math.random() * 350);
        await person.page.reload({ waitUntil: "commit" });
        await person.page.locator(".conversation").waitFor();
        if ((await stage.state(chat)).status !== "streaming_llm_response") break;
        reloads += 1;
      }
      await Promise.all([person.answered(replies), undisturbed.answered(replies)]);
    }
    const said = Array.from({ length: replies }, () => reply);
    assert.deepEqual(
      (await stage.state(chat)).context.messages
        .filter(({ role }) => role === "assistant")
        .map(({ content }) => content.trim()),
      said,
    );
    assert.deepEqual(await undisturbed.said("assistant"), said);
    assert.deepEqual(await person.said("assistant"), said);
    await Promise.all([person.leave(), undisturbed.leave()]);
  });

  test("two tabs: what is sent in one is said in both, the reply as it arrives", async () => {
    const chat = await stage.chat("Tabs");
    const first = await stage.arrive();
    await first.open(chat);
    const second = await first.secondTab(chat);
    await first.write("From the first\n/chunks 30 30");
    await until(
      "the second sees it arrive",
      async () => (await second.said("assistant"))[0]?.includes("chunk 3") === true,
    );
    await Promise.all([first.answered(1), second.answered(1)]);
    await second.write("From the second");
    await Promise.all([first.answered(2), second.answered(2)]);
    for (const role of ["user", "assistant"] as const)
      assert.deepEqual(await first.said(role), await second.said(role));
    await first.leave();
  });

  test("what the browser has no room to keep goes back to where it was written", async () => {
    const person = await stage.arrive();
    await person.context.addInitScript(() => {
      IDBObjectStore.prototype.add = () => {
        throw new DOMException("full", "QuotaExceededError");
      };
    });
    await person.page.reload();
    await person.open(await stage.chat("No room"));
    await person.write("Written with care");
    await person.page.getByText("Something went wrong").waitFor();
    assert.equal(await person.page.locator("#composer").inputValue(), "Written with care");
    await person.page.reload();
    assert.equal(await person.page.locator("#composer").inputValue(), "Written with care");
    await person.leave();
  });

  test("offline x5, reload, online: five messages, in order, once each", async () => {
    const chat = await stage.chat("Offline");
    const person = await stage.arrive();
    await person.open(chat);
    // The page itself has to load while the gateway does not answer: only the API is cut.
    const cut = /\/(api|v1)\//;
    await person.page.route(cut, (route) => route.abort("internetdisconnected"));
    await person.page.evaluate(() => {
      dispatchEvent(new Event("offline"));
    });
    const texts = ["first", "second", "third", "fourth", "fifth"];
    for (const text of texts) await person.write(text);
    await until(
      "all are shown",
      async () => (await person.said("user")).join() === texts.join(),
    );
    await person.page.reload();
    await until(
      "they are shown after the reload",
      async () => (await person.said("user")).join() === texts.join(),
    );
    assert.equal((await stage.state(chat)).context.messages.length, 0);
    await person.page.unroute(cut);
    await person.page.evaluate(() => {
      dispatchEvent(new Event("online"));
    });
    await person.answered(5);
    const said = (await stage.state(chat)).context.messages.filter(
      (message) => message.role === "user",
    );
    assert.deepEqual(
      said.map((message) => message.content),
      texts,
    );
    assert.deepEqual(await person.said("user"), texts);
    await person.leave();
  });

  test("approval in another tab: what is decided in one is decided in both", async () => {
    const chat = await stage.chat("Approvals");
    const first = await stage.arrive();
    await first.open(chat);
    const second = await first.secondTab(chat);
    await first.write('/tool calculator {"expression": "6*7"}');
    await Promise.all(
      [first, second].map((each) => each.page.locator(".panel[data-kind=approval]").waitFor()),
    );
    await second.page.getByRole("button", { name: "Approve", exact: true }).click();
    await Promise.all(
      [first.page, second.page].map((page) =>
        page.locator(".panel").waitFor({ state: "detached" }),
      ),
    );
    await first.rests();
    await until("the result was used", async () =>
      (await first.said("assistant")).some((text) => text.includes("42")),
    );
    await first.leave();
  });

  test("concurrent sends: two people, ten messages, one history", async () => {
    const chat = await stage.chat("Concurrent");
    const people = [await stage.arrive(), await stage.arrive()];
    for (const person of people) await person.open(chat);
    await Promise.all(
      people.map(async (person, who) => {
        for (let n = 0; n < 5; n += 1)
          await person.write(`${who.toString()}-${n.toString()}\n/chunks 2 5`);
      }),
    );
    for (const person of people) await person.answered(10);
    const said = (await stage.state(chat)).context.messages.filter(
      (message) => message.role === "user",
    );
    const texts: string[] = said.map((message) => message.content);
    assert.equal(new Set(texts).size, 10);
    for (const who of ["0", "1"]) {
      const own = texts.filter((text) => text.startsWith(who));
      assert.deepEqual(own, [...own].sort());
    }
    for (const person of people) assert.deepEqual(await person.said("user"), texts);
    for (const person of people) await person.leave();
  });

  test("a worker is killed in mid-reply: the reply comes to its end, once", async () => {
    const chat = await stage.chat("Killed");
    const person = await stage.arrive();
    await person.open(chat);
    await person.write("/chunks 50 40");
    await until(
      "it streams",
      async () => (await person.said("assistant"))[0]?.includes("chunk 10") === true,
    );
    for (const id of stage.contextd.processes("worker")) process.kill(id, "SIGKILL");
    await person.answered(1);
    assert.deepEqual(await person.said("assistant"), [chunks(50)]);
    await person.leave();
  });

  test("the server is killed in mid-reply and started again: the page goes on by itself", async () => {
    const chat = await stage.chat("Restarted");
    const person = await stage.arrive();
    await person.open(chat);
    await person.write("/chunks 50 40");
    await until(
      "it streams",
      async () => (await person.said("assistant"))[0]?.includes("chunk 10") === true,
    );
    await stage.contextd.kill();
    await person.page.locator(".connection p").waitFor();
    await person.write("Written meanwhile");
    await stage.contextd.startAgain();
    await person.answered(2);
    assert.equal((await person.said("assistant"))[0], chunks(50));
    assert.deepEqual(await person.said("user"), ["/chunks 50 40", "Written meanwhile"]);
    await person.page.locator(".connection p").waitFor({ state: "detached" });
    await person.leave();
  });

  test("deletion stops polling: a chat that is deleted elsewhere is told as gone, and not asked for again", async () => {
    const chat = await stage.chat("Deleted", "One");
    const person = await stage.arrive({ kept: { "contextd.transport": "poll" } });
    await person.page.clock.install();
    await person.page.reload();
    await person.open(chat);
    await stage.contextd.api("DELETE", `/api/contexts/${chat}`);
    await person.page.getByText("This chat is not there").waitFor();
    const before = person.count(/\/state/);
    await person.page.clock.runFor(60_000);
    assert.equal(person.count(/\/state/), before);
    await until(
      "the list has lost it",
      async () => (await person.page.locator(`[data-chat="${chat}"]`).count()) === 0,
    );
    await person.leave();
  });
});
