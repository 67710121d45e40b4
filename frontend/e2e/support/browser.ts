/** A browser of this machine; none is ever downloaded. */

import { existsSync } from "node:fs";

import { chromium, type Browser, type BrowserContext, type Page } from "playwright-core";

import type { Contextd } from "./contextd.js";

const USUAL = [
  "/usr/bin/chromium",
  "/usr/bin/chromium-browser",
  "/usr/bin/google-chrome",
  "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
];

/** The path of a browser; undefined, where there is none. */
export function browserPath(): string | undefined {
  const given = process.env["CHROMIUM"];
  return given ?? USUAL.find((path) => existsSync(path));
}

export async function openBrowser(): Promise<Browser> {
  const executablePath = browserPath();
  if (executablePath === undefined)
    throw new Error("There is no Chromium; CHROMIUM names one.");
  return chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-dev-shm-usage"] });
}

export type ArrivalOptions = NonNullable<Parameters<Browser["newContext"]>[0]> & {
  /** What the browser has kept from before. */
  readonly kept?: Readonly<Record<string, string>>;
};

/** One person at the chat page: signed in, and everything wrong that the browser says is noted. */
export class Person {
  readonly context: BrowserContext;
  readonly page: Page;
  readonly wrong: string[];
  /** What the page has asked the gateway for, as `GET /api/...`, in order. */
  readonly asked: string[] = [];
  readonly #contextd: Contextd;

  private constructor(
    contextd: Contextd,
    context: BrowserContext,
    page: Page,
    wrong: string[],
  ) {
    this.#contextd = contextd;
    this.context = context;
    this.page = page;
    this.wrong = wrong;
  }

  static async arrive(
    contextd: Contextd,
    browser: Browser,
    { kept = {}, ...options }: ArrivalOptions = {},
  ): Promise<Person> {
    const context = await browser.newContext({
      viewport: { width: 1280, height: 800 },
      ...options,
    });
    context.setDefaultTimeout(60_000);
    // What is evaluated in the page was compiled, and names its functions by a helper.
    await context.addInitScript({ content: "globalThis.__name = (named) => named;" });
    await context.addInitScript((items) => {
      for (const [name, value] of Object.entries(items)) localStorage.setItem(name, value);
    }, kept);
    const person = await Person.#tab(contextd, context, []);
    await person.page.goto(`${contextd.url}/#key=${contextd.key}`);
    await person.page.locator("#composer").waitFor();
    return person;
  }

  /** Another tab of the same browser. */
  async secondTab(chatId?: string): Promise<Person> {
    const person = await Person.#tab(this.#contextd, this.context, this.wrong);
    // A tab of its own has no session: the key comes with the address.
    await person.page.goto(`${this.#contextd.url}/#key=${this.#contextd.key}`);
    if (chatId !== undefined) await person.open(chatId);
    return person;
  }

  static async #tab(
    contextd: Contextd,
    context: BrowserContext,
    wrong: string[],
  ): Promise<Person> {
    const page = await context.newPage();
    page.on("pageerror", (error) => wrong.push(`error: ${error.message}`));
    page.on("console", (message) => {
      if (message.type() === "error" || message.type() === "warning")
        wrong.push(`${message.type()}: ${message.text()}`);
    });
    page.on("dialog", (dialog) => {
      wrong.push(`dialog: ${dialog.message()}`);
      void dialog.dismiss();
    });
    const person = new Person(contextd, context, page, wrong);
    page.on("request", (request) =>
      person.asked.push(`${request.method()} ${request.url().slice(contextd.url.length)}`),
    );
    return person;
  }

  get chatId(): string {
    return /#\/chats\/([\w-]+)/.exec(this.page.url())?.[1] ?? "";
  }

  async open(chatId: string): Promise<void> {
    await this.page.evaluate((id) => {
      location.hash = `/chats/${id}`;
    }, chatId);
    await this.page.locator(".conversation[data-status]:not([data-status=unknown])").waitFor();
  }

  async write(text: string): Promise<void> {
    await this.page.locator("#composer").fill(text);
    await this.page.locator("#composer").press("Enter");
  }

  /** Texts of what is shown, of one role. */
  async said(role: "user" | "assistant"): Promise<readonly string[]> {
    const texts = await this.page.locator(`.message[data-role=${role}] .said`).allInnerTexts();
    return texts.map((text) => text.trim());
  }

  /** How often a path was asked for so far. */
  count(path: RegExp): number {
    return this.asked.filter((each) => path.test(each)).length;
  }

  /** Have the page think that nobody looks at it, or somebody does. */
  async hide(isHidden: boolean): Promise<void> {
    await this.page.evaluate((hidden) => {
      Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
      Object.defineProperty(document, "visibilityState", {
        configurable: true,
        get: () => (hidden ? "hidden" : "visible"),
      });
      document.dispatchEvent(new Event("visibilitychange"));
    }, isHidden);
  }

  /** Wait until so many replies are there, and nothing goes on. */
  async answered(replies: number): Promise<void> {
    await this.page.waitForFunction(
      (count) =>
        document.querySelectorAll(".message[data-role=assistant][data-status=complete]")
          .length >= count &&
        document.querySelector(".conversation[data-status=idle]") !== null,
      replies,
      { timeout: 60_000 },
    );
  }

  async rests(): Promise<void> {
    await this.page.locator(".conversation[data-status=idle]").waitFor({ timeout: 30_000 });
  }

  async leave(): Promise<void> {
    await this.context.close();
  }
}
