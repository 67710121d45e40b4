/** Every string of anybody is hostile: none runs, loads anything, or leaves its place. */

import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

import { until } from "../support/contextd.js";
import { suite } from "../support/suite.js";

const BESIDE = new URL("../../../../shared/corpora/blns.json", import.meta.url);
const CORPUS = process.env["HOSTILE_CORPUS"] ?? fileURLToPath(BESIDE);
const ALERT = "globalThis.ran=1;alert(1)";

const HOSTILE: readonly string[] = [
  `<script>${ALERT}</script>`,
  `<img src=x onerror="${ALERT}">`,
  `<svg/onload=${ALERT}>`,
  `<iframe srcdoc="<script>parent.ran=1</script>"></iframe>`,
  `<a href="javascript:${ALERT}" autofocus onfocus=${ALERT}>x</a>`,
  `<details open ontoggle=${ALERT}><summary>x</summary></details>`,
  `<style>*{background:url(https://evil.example/a)}</style>`,
  `<base href="https://evil.example/"><form action=/x><button>x</button></form>`,
  `<math><mtext></table><mglyph><style><!--</style><img title="--&gt;&lt;img src=1 onerror=${ALERT}&gt;">`,
  `"><script>${ALERT}</script><x y="`,
  `'-alert(1)-'`,
  `{{constructor.constructor('${ALERT}')()}}`,
  `[link](javascript:${ALERT})`,
  `[link](JaVaScRiPt&colon;${ALERT})`,
  `[link](java\tscript:${ALERT})`,
  `[link](&#106;avascript:${ALERT})`,
  `[link](data:text/html,<script>${ALERT}</script>)`,
  `[link](vbscript:x) [link](file:///etc/passwd) [link](//evil.example) [link](/admin/restart) [link](blob:x)`,
  `<javascript:${ALERT}>`,
  `[x]: javascript:${ALERT}\n\n[x] [y][x]`,
  `![picture](https://evil.example/pixel.png) ![p](data:image/svg+xml,<svg onload=${ALERT}>)`,
  `[a](https://evil.example/"onmouseover="${ALERT}) [b](https://ok.example 'title" onfocus="${ALERT}')`,
  `\`\`\`"><img src=x onerror=${ALERT}>\n<script>${ALERT}</script>\n\`\`\``,
  `\`\`\`html\n<script>${ALERT}</script>\n\`\`\``,
  `| <img src=x onerror=${ALERT}> | b |\n|---|---|\n| [x](javascript:${ALERT}) | <b>c</b> |`,
  `- [ ] <script>${ALERT}</script>\n- [x] &lt;img src=x onerror=${ALERT}&gt;`,
  `${">".repeat(3_000)} deep`,
  `${"[".repeat(3_000)} deep`,
  `${"*".repeat(3_000)} deep`,
  `${"- ".repeat(1_000)} deep`,
  `&#0; &#x110000; &#xD800; &amp;lt;script&amp;gt;`,
  `\u202Eevil\u202D \u2066 \u200F text`,
  `Z${"\u0310\u0351\u0327".repeat(300)}algo`,
  "W".repeat(5_000),
  "\ufdfd".repeat(50),
  "__proto__ constructor hasOwnProperty toString",
];
const TITLES = HOSTILE.map((text) => Array.from(text).slice(0, 190).join(""));

interface Place {
  readonly ran: boolean;
  readonly widest: number;
  readonly strange: readonly string[];
}

suite("hostile strings", (stage) => {
  test("in titles, messages, replies, tools, arguments, questions, errors, queues and parts", async () => {
    const person = await stage.arrive({ kept: {} });
    const loaded: string[] = [];
    person.page.on("request", (request) => {
      if (!request.url().startsWith(stage.contextd.url)) loaded.push(request.url());
    });
    const chat = await stage.chat(TITLES[0] ?? "");
    const record = async (messages: readonly object[]): Promise<void> => {
      await stage.contextd.api("POST", `/api/contexts/${chat}/actions/record_messages`, {
        messages,
      });
    };
    for (const text of HOSTILE)
      await record([
        { role: "user", content: text },
        { role: "assistant", content: text, model: text.slice(0, 100) },
      ]);
    await record([
      { role: "system", content: HOSTILE[1] },
      {
        role: "assistant",
        content: "",
        tool_calls: HOSTILE.map((text, n) => ({
          id: `call-${n.toString()}${text.slice(0, 60)}`,
          name: text.slice(0, 60),
          arguments: JSON.stringify({ text }),
        })),
      },
      ...HOSTILE.map((text, n) => ({
        role: "tool",
        content: text,
        tool_call_id: `call-${n.toString()}${text.slice(0, 60)}`,
      })),
    ]);
    await stage.say(chat, `/fail bad_request\n${HOSTILE[1] ?? ""}`);
    const titled: string[] = [];
    for (const title of TITLES) titled.push(await stage.chat(title));

    const look = async (what: string): Promise<void> => {
      const place: Place = await person.page.evaluate(() => {
        const wide = [...document.querySelectorAll("#page *")].filter((element) => {
          const clips = element.closest("pre, .table, .hidden-text, .skip, .scroller textarea");
          return clips === null && element.getBoundingClientRect().right > innerWidth + 1;
        });
        const strange = [
          ...document.querySelectorAll(
            "script:not([src^='/assets/']), iframe, object, embed, base, style, img:not([src^='data:image/']), form[action], [onerror], [onload], [onfocus], [onmouseover], [ontoggle]",
          ),
        ];
        const links = [...document.querySelectorAll<HTMLAnchorElement>(".message a")].filter(
          (link) => !/^(https?|mailto):/.test(link.getAttribute("href") ?? ""),
        );
        return {
          ran: "ran" in globalThis,
          widest: Math.max(
            document.documentElement.scrollWidth,
            document.body.scrollWidth,
            ...wide.map((element) => element.getBoundingClientRect().right),
          ),
          strange: [...strange, ...links].map((element) => element.outerHTML.slice(0, 200)),
        };
      });
      assert.deepEqual(place.strange, [], what);
      assert.equal(place.ran, false, what);
      assert.ok(
        place.widest <= 1281,
        `${what}: something reaches to ${place.widest.toString()}`,
      );
    };

    await person.open(chat);
    await person.page.locator(".failure").waitFor();
    assert.equal(
      await person.page.locator(".message[data-role=user]").count(),
      HOSTILE.length + 1,
    );
    await look("messages");
    for (const summary of await person.page.locator(".calls summary").all())
      await summary.click();
    await look("tools");
    await person.page.waitForFunction(
      (count) => document.querySelectorAll(".context").length >= count,
      titled.length,
    );
    await look("titles");
    for (const id of titled) {
      await person.open(id);
      await look("a title");
    }

    const asking = await stage.chat("Asking");
    const hostile = HOSTILE[1] ?? "";
    await stage.say(
      asking,
      `/tool ask_person ${JSON.stringify({ question: hostile, options: [hostile, HOSTILE[32] ?? ""] })}`,
    );
    await person.open(asking);
    await person.page.locator(".panel[data-kind=question]").waitFor();
    await look("a question");
    const approving = await stage.chat("Approving");
    await stage.say(approving, `/tool calculator ${JSON.stringify({ expression: hostile })}`);
    await stage.contextd.api("POST", `/api/contexts/${approving}/actions/send_message`, {
      content: HOSTILE[0],
    });
    await person.open(approving);
    await person.page.locator(".panel[data-kind=approval]").waitFor();
    await person.page.locator(".panel[data-kind=queue]").waitFor();
    await look("arguments and queue");
    const parts = await stage.chat("Parts");
    await stage.contextd.api("POST", `/api/contexts/${parts}/actions/send_message`, {
      content: [
        { type: "text", text: hostile },
        { type: "image_url", image_url: { url: "https://evil.example/p.png" } },
        { type: "image_url", image_url: { url: `data:image/svg+xml,<svg onload=${ALERT}>` } },
        { type: hostile.slice(0, 60), url: `javascript:${ALERT}`, name: hostile },
        { type: "file_reference", name: hostile, url: `javascript:${ALERT}` },
      ],
    });
    await person.open(parts);
    await person.page.locator(".parts").waitFor();
    await look("parts");
    await person.page.goto(`${stage.contextd.url}/#/chats/${encodeURIComponent(hostile)}`);
    await person.page.locator("#composer").waitFor();
    await look("the address");
    assert.deepEqual(loaded, []);
    assert.deepEqual(person.wrong, []);
    await person.leave();
  });

  const isThere = existsSync(CORPUS);
  test(
    "a corpus of naughty strings",
    { skip: isThere ? false : "there is no shared/corpora beside the project" },
    async () => {
      const strings = JSON.parse(readFileSync(CORPUS, "utf8")) as string[];
      const chat = await stage.chat("Corpus");
      const texts = strings.filter(
        (text) =>
          text !== "" &&
          !/[\ud800-\udfff]/.test(text.replace(/[\ud800-\udbff][\udc00-\udfff]/g, "")),
      );
      for (let at = 0; at < texts.length; at += 100) {
        const messages = texts.slice(at, at + 100).flatMap((text) => [
          { role: "user", content: text },
          { role: "assistant", content: text },
        ]);
        await stage.contextd.api("POST", `/api/contexts/${chat}/actions/record_messages`, {
          messages,
        });
      }
      const person = await stage.arrive();
      await person.open(chat);
      await until(
        "all are shown",
        async () => (await person.page.locator(".message").count()) === texts.length * 2,
        60_000,
      );
      assert.equal(
        await person.page.evaluate(
          () =>
            document.querySelectorAll(
              ".message :is(script, iframe, object, embed, style, img, svg:not(.icon))",
            ).length,
        ),
        0,
      );
      assert.equal(
        await person.page.evaluate(() => document.documentElement.scrollWidth),
        1280,
      );
      assert.deepEqual(
        await person.page
          .locator(".message[data-role=user] .plain")
          .evaluateAll((all) => all.map((each) => each.textContent)),
        texts,
      );
      assert.deepEqual(person.wrong, []);
      await person.leave();
    },
  );
});
