/** Chats that cannot be opened: what a person is told of them, and what can still be done. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { suite } from "../support/suite.js";

const OF_A_CHAT = /^GET \/api\/contexts\/[\w-]+\/(state|events)/;
const LOST = ".context[data-badge=unreadable]";

suite("unreadable", (stage) => {
  test("chats that cannot be opened are listed, say so, and can be deleted", async () => {
    const [one, other] = [await stage.chat("One", "Hello"), await stage.chat("Other", "Hello")];
    const kept = await stage.chat("Kept", "Hello");
    await stage.contextd.spoil(one, other);
    const person = await stage.arrive();
    const { page } = person;
    await page.locator(LOST).nth(1).waitFor();
    assert.match(await page.locator(LOST).first().innerText(), /^Cannot be opened/);
    await person.open(kept);
    await page.keyboard.press("Alt+ArrowDown");
    await page.getByRole("heading", { name: "This chat cannot be opened" }).waitFor();
    assert.equal(person.chatId, other);
    assert.equal(await page.title(), "Cannot be opened · contextd");
    assert.equal(await page.locator("#composer").count(), 0);
    const asked = person.count(OF_A_CHAT);
    await sleep(3_000);
    assert.equal(person.count(OF_A_CHAT), asked);
    await page.getByRole("button", { name: "Try again" }).click();
    await page.getByRole("heading", { name: "This chat cannot be opened" }).waitFor();

    await page.getByRole("button", { name: "Delete" }).click();
    await page.locator("dialog").getByRole("button", { name: "Delete" }).click();
    await page.locator(`[data-chat="${other}"]`).waitFor({ state: "detached" });
    assert.equal(person.chatId, "");

    await page.locator(LOST).getByRole("button").focus();
    await page.keyboard.press("Enter");
    await page.getByRole("menuitem", { name: "Delete" }).press("Enter");
    await page.locator("dialog").getByRole("button", { name: "Delete" }).press("Enter");
    await page.locator(LOST).waitFor({ state: "detached" });
    const { contexts } = await stage.contextd.api("GET", "/api/contexts");
    assert.deepEqual(
      contexts.map(({ id }) => id),
      [kept],
    );
    // The browser itself tells of the requests that were refused.
    const wrong = person.wrong.filter((each) => !each.includes("500"));
    assert.deepEqual(wrong, []);
    await person.leave();
  });

  test("what was read of a chat stays on the screen when it cannot be opened any more", async () => {
    const chat = await stage.chat("Shown", "Hello");
    const person = await stage.arrive();
    await person.open(chat);
    await person.answered(1);
    await stage.contextd.spoil(chat);
    assert.deepEqual(await person.said("user"), ["Hello"]);
    await person.write("Are you there?");
    const failed = person.page.locator(".message[data-status=failed-to-send]");
    await failed.waitFor();
    assert.match(await failed.innerText(), /Not sent: this chat cannot be opened now\./);
    await person.page.reload();
    await person.page.getByRole("heading", { name: "This chat cannot be opened" }).waitFor();
    await person.leave();
  });
});
