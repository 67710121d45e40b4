/** Pictures of the chat page for docs/images: `node --import tsx shots.ts FOLDER`. */

import { mkdirSync } from "node:fs";
import { join } from "node:path";

import { openBrowser, Person } from "./support/browser.js";
import { Contextd, until } from "./support/contextd.js";

const folder = process.argv[2] ?? "shots";
mkdirSync(folder, { recursive: true });

const RECORDED = [
  {
    role: "user",
    content: "How would you count words in a large file, without reading it whole?",
  },
  {
    role: "assistant",
    content: `Read it in **chunks** and carry the last, possibly unfinished word over:

\`\`\`python
from collections import Counter

def count_words(path: str, size: int = 1 << 16) -> Counter[str]:
    counts, rest = Counter(), ""
    with open(path, encoding="utf-8") as file:
        while chunk := file.read(size):
            *words, rest = (rest + chunk).split(" ")  # the last may go on
            counts.update(words)
    counts[rest] += 1
    return counts
\`\`\`

What it costs, for a file of *n* bytes with *w* different words:

| | time | memory |
|---|---:|---:|
| whole file | O(n) | O(n) |
| chunks | O(n) | O(w) |

- The chunk's size hardly matters above 16 KB.
- \`mmap\` reads no less; it only moves the work to the [page cache](https://en.wikipedia.org/wiki/Page_cache).`,
  },
];

const contextd = await Contextd.start();
const browser = await openBrowser();
const shoot = (person: Person, name: string): Promise<unknown> =>
  person.page.screenshot({ path: join(folder, `${name}.png`) });
const record = async (title: string, messages: readonly object[]): Promise<string> => {
  const { context } = await contextd.api("POST", "/api/contexts", { title });
  await contextd.api("POST", `/api/contexts/${context.id}/actions/record_messages`, {
    messages,
  });
  return context.id;
};
const send = (id: string, content: string): Promise<unknown> =>
  contextd.api("POST", `/api/contexts/${id}/actions/send_message`, { content });

try {
  for (const title of [
    "Rye bread, second try",
    "Letter to the landlord",
    "Trip to Trieste",
    "Why is the sky dark at night?",
  ]) {
    await record(title, [
      { role: "user", content: title },
      { role: "assistant", content: "Gladly." },
    ]);
  }
  const failed = await record("Quarterly figures", [{ role: "user", content: "Add them up" }]);
  await send(failed, "/fail bad_request");
  const words = await record("Counting words in a large file", RECORDED);
  const asking = await record("A small calculation", [
    { role: "user", content: "Hello" },
    { role: "assistant", content: "Hello! What shall I calculate?" },
  ]);
  await send(
    asking,
    'What are the rent and the year?\n/tool calculator {"expression": "1240 * 12"}\n/tool clock {"zone": "Europe/Vienna"}',
  );
  const streaming = await record("A long story", [
    { role: "user", content: "Tell me something short first." },
    { role: "assistant", content: "Once there was a log that was the truth." },
  ]);
  const person = await Person.arrive(contextd, browser);
  await shoot(person, "chat-new");
  await person.open(words);
  await person.page.locator(".hljs-keyword").first().waitFor();
  await shoot(person, "chat");
  await contextd.api("POST", `/api/contexts/${asking}/actions/pin`, {});
  await person.open(asking);
  await person.page.locator(".panel[data-kind=approval]").waitFor();
  await shoot(person, "chat-approval");
  await send(streaming, "And now a long one\n/chunks 400 50");
  await send(streaming, "With a dragon in it, please");
  await send(streaming, "And a happy end");
  await person.open(streaming);
  await until("it streams", async () =>
    (await person.said("assistant")).some((text) => text.includes("chunk 12")),
  );
  await shoot(person, "chat-streaming");
  await person.open(failed);
  await person.page.locator(".failure").waitFor();
  await shoot(person, "chat-failed");
  await person.page.getByRole("button", { name: "Settings of this chat" }).click();
  await shoot(person, "chat-settings");
  await person.leave();

  const dark = await Person.arrive(contextd, browser, { colorScheme: "dark" });
  await dark.open(words);
  await dark.page.locator(".hljs-keyword").first().waitFor();
  await shoot(dark, "chat-dark");
  await dark.leave();

  const phone = await Person.arrive(contextd, browser, {
    viewport: { width: 390, height: 844 },
    hasTouch: true,
    isMobile: true,
  });
  await phone.open(words);
  await phone.page.locator(".hljs-keyword").first().waitFor();
  await shoot(phone, "chat-phone");
  await phone.page.getByRole("button", { name: "Chats" }).click();
  await phone.page.waitForTimeout(400);
  await shoot(phone, "chat-phone-list");
  await phone.open(asking);
  await phone.page.keyboard.press("Escape");
  await phone.page.waitForTimeout(400);
  await shoot(phone, "chat-phone-approval");
  await phone.leave();

  const guest = await (
    await browser.newContext({ viewport: { width: 1280, height: 800 } })
  ).newPage();
  await guest.goto(contextd.url);
  await guest.locator(".sign-in").waitFor();
  await guest.screenshot({ path: join(folder, "sign-in.png") });
  console.log("wrong:", person.wrong, dark.wrong, phone.wrong);
} finally {
  await browser.close();
  await contextd.stop();
}
