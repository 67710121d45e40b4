/** What a page owes everybody: no violation of accessibility, no error, a fast first paint, a phone's width. */

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import type { AxeResults } from "axe-core";

import type { Person } from "../support/browser.js";
import { until } from "../support/contextd.js";
import { suite } from "../support/suite.js";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
/** Gzipped, of all that is loaded before the first paint. */
const SCRIPT_BYTES_MAX = 130_000;

/** What axe finds wrong, a line each. */
async function violations(person: Person): Promise<readonly string[]> {
  // Through the debugger: the page's policy lets no script in.
  if (!(await person.page.evaluate(() => "axe" in globalThis))) await person.page.evaluate(AXE);
  const results: AxeResults = await person.page.evaluate(async () => {
    // Colours are judged when nothing is in between two of them.
    for (const animation of document.getAnimations()) animation.cancel();
    return (
      globalThis as unknown as { axe: { run: (root: Document) => Promise<AxeResults> } }
    ).axe.run(document);
  });
  return results.violations.flatMap(({ id, nodes }) =>
    nodes.map((node) => `${id}: ${node.html.slice(0, 160)} ${node.any[0]?.message ?? ""}`),
  );
}

suite("looks", (stage) => {
  for (const colorScheme of ["light", "dark"] as const) {
    test(`axe finds nothing, ${colorScheme}`, async () => {
      const chat = await stage.chat("Views");
      await stage.contextd.api("POST", `/api/contexts/${chat}/actions/record_messages`, {
        messages: [
          { role: "user", content: "Show everything" },
          {
            role: "assistant",
            content:
              "# Head\n\n**b** [l](https://a.example) `c`\n\n```python\ndef a(): return 'b' # c\n```\n\n|a|b|\n|-|-|\n|1|2|\n\n- [x] done\n\n> quoted\n\n1. one",
          },
        ],
      });
      const person = await stage.arrive({ colorScheme });
      const check = async (view: string): Promise<void> => {
        assert.deepEqual(await violations(person), [], view);
      };
      await check("new chat");
      await person.open(chat);
      await person.page.locator(".hljs-keyword").first().waitFor();
      await check("messages");
      await stage.say(chat, '/tool calculator {"expression": "1"}\n/tool clock {}');
      await stage.contextd.api("POST", `/api/contexts/${chat}/actions/send_message`, {
        content: "waits",
      });
      await person.page.locator(".panel[data-kind=queue]").waitFor();
      await check("approval and queue");
      await person.page.locator(".panel textarea").first().fill("{");
      await check("wrong arguments");
      await person.page.getByRole("button", { name: "Settings of this chat" }).click();
      await check("settings");
      await person.page.keyboard.press("Escape");
      await person.page.locator("#composer").blur();
      await person.page.keyboard.press("?");
      await check("shortcuts");
      await person.page.keyboard.press("Escape");
      await person.page.locator(".context").first().hover();
      await person.page
        .getByRole("button", { name: /^Menu of/ })
        .first()
        .click();
      await check("menu");
      await person.page.keyboard.press("Escape");
      const asking = await stage.chat("Asking");
      await stage.say(asking, '/tool ask_person {"question": "Which?", "options": ["a", "b"]}');
      await person.open(asking);
      await person.page.locator(".panel[data-kind=question]").waitFor();
      await check("question");
      const failing = await stage.chat("Failing");
      await stage.say(failing, "/fail bad_request");
      await person.open(failing);
      await person.page.locator(".failure").waitFor();
      await check("failure");
      await person.context.setOffline(true);
      await person.page.locator(".connection p").waitFor();
      await check("offline");
      await person.context.setOffline(false);
      await person.page.evaluate(() => {
        location.hash = "/chats/01890a5d-ac96-774b-bcce-b302099a8057";
      });
      await person.page.getByText("This chat is not there").waitFor();
      await check("gone");
      await person.page.getByRole("button", { name: "Sign out" }).click();
      await person.page.getByLabel("API key").waitFor();
      await check("signing in");
      // The browser itself tells of requests that failed: offline, and for what is not there.
      assert.deepEqual(
        person.wrong.filter(
          (each) => !/Failed to load resource|WebSocket connection/.test(each),
        ),
        [],
      );
      await person.leave();
    });
  }

  test("no console errors in an ordinary conversation", async () => {
    const person = await stage.arrive();
    await person.write("Hello\n/chunks 20 5");
    await person.answered(1);
    await person.write("And again");
    await person.answered(2);
    assert.deepEqual(person.wrong, []);
    await person.leave();
  });

  for (const width of [360, 390, 768]) {
    test(`a width of ${width.toString()} px: nothing is cut off`, async () => {
      const chat = await stage.chat(
        "A title that is much longer than a phone is wide, as titles are",
        `${"x".repeat(300)}\n/chunks 30 0`,
      );
      const person = await stage.arrive({ viewport: { width, height: 740 }, hasTouch: true });
      await person.open(chat);
      await stage.say(
        chat,
        '/tool calculator {"expression": "1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1"}\n/tool clock {}',
      );
      await person.page.locator(".panel[data-kind=approval]").waitFor();
      await stage.contextd.api("POST", `/api/contexts/${chat}/actions/send_message`, {
        content: "A message that waits, and that is longer than its line is wide. ".repeat(5),
      });
      await person.page.locator(".panel[data-kind=queue]").waitFor();
      const widest = await person.page.evaluate(() =>
        Math.max(
          ...[...document.querySelectorAll(".stage *")]
            .filter((element) => element.closest("pre, .hidden-text") === null)
            .map((element) => element.getBoundingClientRect().right),
        ),
      );
      assert.ok(widest <= width + 0.5, `something reaches to ${widest.toString()}`);
      if (width < 768) {
        await person.page.getByRole("button", { name: "Chats" }).click();
        await person.page.locator(".context").first().click();
        await until(
          "the list shuts",
          async () => (await person.page.locator(".app").getAttribute("data-list")) === "shut",
        );
      }
      await person.leave();
    });
  }

  test("a table on a phone: its words are whole, and it is scrolled by itself", async () => {
    const chat = await stage.chat("Table");
    const cells = "| one cell | 1000000 | a longer cell with text | antidisestablishment |";
    await stage.contextd.api("POST", `/api/contexts/${chat}/actions/record_messages`, {
      messages: [
        { role: "user", content: "Draw a table" },
        { role: "assistant", content: `${cells}\n|-|-|-|-|\n${cells}` },
      ],
    });
    const person = await stage.arrive({ viewport: { width: 360, height: 740 } });
    await person.open(chat);
    const number = person.page.getByRole("cell", { name: "1000000" });
    const lines = await number.evaluate((cell) => {
      const range = document.createRange();
      range.selectNodeContents(cell);
      return range.getClientRects().length;
    });
    assert.equal(lines, 1);
    assert.equal(await person.page.evaluate(() => document.body.scrollWidth), 360);
    await person.leave();
  });

  test("the keyboard alone: from the address bar to an answer, and into a menu and out", async () => {
    const person = await stage.arrive();
    await person.page.locator("body").press("Tab");
    await person.page.locator("#composer").focus();
    await person.page.keyboard.type("By keys");
    await person.page.keyboard.press("Enter");
    await person.answered(1);
    const menu = person.page.getByRole("button", { name: /^Menu of By keys/ }).first();
    await menu.focus();
    await person.page.keyboard.press("Enter");
    await person.page.keyboard.press("ArrowDown");
    assert.equal(await person.page.evaluate(() => document.activeElement?.textContent), "Pin");
    await person.page.keyboard.press("Escape");
    assert.match(
      (await person.page.evaluate(() => document.activeElement?.getAttribute("aria-label"))) ??
        "",
      /^Menu of By keys/,
    );
    await person.leave();
  });

  test("the keyboard alone: what has it goes away, and it is at the composer", async () => {
    const chat = await stage.chat("Focus", '/tool calculator {"expression": "1"}\n/chunks 1 0');
    const person = await stage.arrive();
    await person.open(chat);
    const has = async (what: string): Promise<void> =>
      until(`${what} has the keyboard`, () =>
        person.page.evaluate(
          (name) =>
            document.activeElement?.matches(`#${name}, [aria-label="${name}"]`) === true,
          what,
        ),
      );
    const press = async (name: string): Promise<void> => {
      await person.page.keyboard.press("Tab"); // from now on nobody points
      await person.page.getByRole("button", { name, exact: true }).first().focus();
      await person.page.keyboard.press("Enter");
    };
    await press("Approve");
    await person.answered(1);
    await has("composer");
    await press("Edit");
    await has("New text");
    await person.page.keyboard.press("Escape");
    await has("composer");
    await person.write("/chunks 500 50");
    for (const content of ["one", "two", "three", "four"])
      await stage.contextd.api("POST", `/api/contexts/${chat}/actions/send_message`, {
        content,
      });
    await person.page.locator("[data-waiting]").nth(3).waitFor();
    await press("Later");
    await until("it is moved", async () =>
      (await person.page.locator("[data-waiting]").first().innerText()).includes("two"),
    );
    await has("Later");
    await press("Remove");
    await has("composer");
    await stage.contextd.api("POST", `/api/contexts/${chat}/actions/cancel`, {});
    await person.leave();
  });

  test("the keyboard alone: all of a ring is seen around whatever has it", async () => {
    const chat = await stage.chat("Rings");
    await stage.contextd.api("POST", `/api/contexts/${chat}/actions/record_messages`, {
      messages: [
        { role: "user", content: "Show everything" },
        {
          role: "assistant",
          content:
            "[l](https://a.example)\n\n```python\na = 1\n```\n\n|a|b|\n|-|-|\n|1|2|\n\n- [l](https://a.example)",
        },
      ],
    });
    await stage.say(chat, '/tool calculator {"expression": "1"}');
    const person = await stage.arrive();
    await person.open(chat);
    await person.page.locator(".scroller").focus();
    const ringed: string[] = [];
    for (let n = 0; n < 40 && ringed.at(-1) !== "composer"; n += 1) {
      await person.page.keyboard.press("Tab");
      const { name, cut } = await person.page.evaluate(() => {
        const element = document.activeElement ?? document.body;
        const style = getComputedStyle(element);
        const box = element.getBoundingClientRect();
        const ring = parseFloat(style.outlineOffset) + parseFloat(style.outlineWidth);
        let cut = "";
        for (let around = element.parentElement; around; around = around.parentElement) {
          const { contain, overflowX } = getComputedStyle(around);
          if (!/paint|content|strict/.test(contain) && overflowX === "visible") continue;
          const by = around.getBoundingClientRect();
          const isWhole =
            box.left - ring >= by.left &&
            box.right + ring <= by.right &&
            box.top - ring >= by.top &&
            box.bottom + ring <= by.bottom;
          // What is scrolled is moved into view as far as the element, not as far as its ring.
          if (!isWhole && !around.matches(".scroller"))
            cut = around.className || around.tagName;
        }
        return { name: element.getAttribute("aria-label") ?? element.tagName, cut };
      });
      const isWriting = await person.page.locator("#composer:focus").count();
      ringed.push(isWriting > 0 ? "composer" : name);
      if (isWriting === 0) assert.equal(cut, "", `the ring of ${name} is cut off`);
    }
    for (const name of ["Copy message", "Edit", "A", "Copy code", "Code", "Table", "SUMMARY"])
      assert.ok(ringed.includes(name), `${name}: ${ringed.join(", ")}`);
    await person.leave();
  });

  test("first paint and size, measured", async (t) => {
    const person = await stage.arrive();
    const paints: number[] = [];
    for (let n = 0; n < 5; n += 1) {
      await person.page.reload();
      await person.page.locator("#composer").waitFor();
      paints.push(
        await person.page.evaluate(
          () => performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? 0,
        ),
      );
    }
    const sizes = await person.page.evaluate(() =>
      (performance.getEntriesByType("resource") as PerformanceResourceTiming[])
        .filter((entry) => entry.name.includes("/assets/"))
        .map((entry) => [new URL(entry.name).pathname, entry.encodedBodySize] as const),
    );
    const total = sizes.reduce((sum, [, size]) => sum + size, 0);
    t.diagnostic(
      `first contentful paint, ms: ${paints.map((paint) => paint.toFixed(0)).join(" ")}`,
    );
    t.diagnostic(
      `loaded before it, bytes: ${total.toString()} (${sizes.map(([name, size]) => `${name} ${size.toString()}`).join(", ")})`,
    );
    assert.ok(total > 0 && total <= SCRIPT_BYTES_MAX, `${total.toString()} bytes`);
    await person.leave();
  });
});
