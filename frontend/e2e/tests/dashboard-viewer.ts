/** One operator at the dashboard, and what the browser says is wrong. */

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

import type { AxeResults } from "axe-core";
import type { Browser, BrowserContext, Page } from "playwright-core";

import type { ArrivalOptions } from "../support/browser.js";
import type { Contextd } from "../support/contextd.js";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
/** Read what the API answers. */
export async function read<T>(contextd: Contextd, path: string): Promise<T> {
  return (await contextd.api("GET", path)) as unknown as T;
}

/** What browsers say of every request that nobody answers, however well it is dealt with. */
const NETWORK = /Failed to load resource|WebSocket connection to/;

export class Viewer {
  readonly wrong: string[] = [];
  /** How many WebSockets the page has opened so far. */
  sockets = 0;

  private constructor(
    readonly context: BrowserContext,
    readonly page: Page,
  ) {}

  static async arrive(
    contextd: Contextd,
    browser: Browser,
    options: ArrivalOptions = {},
    prepare: (page: Page) => Promise<unknown> = () => Promise.resolve(),
  ): Promise<Viewer> {
    const context = await browser.newContext({
      viewport: { width: 1440, height: 900 },
      ...options,
    });
    context.setDefaultTimeout(60_000);
    await context.addInitScript({ content: "globalThis.__name = (named) => named;" });
    const viewer = new Viewer(context, await context.newPage());
    viewer.page.on("websocket", () => (viewer.sockets += 1));
    viewer.page.on("pageerror", (error) => viewer.wrong.push(`error: ${error.message}`));
    viewer.page.on("console", (message) => {
      const isWrong = message.type() === "error" || message.type() === "warning";
      if (isWrong && !NETWORK.test(message.text()))
        viewer.wrong.push(`${message.type()}: ${message.text()}`);
    });
    viewer.page.on("dialog", (dialog) => {
      viewer.wrong.push(`dialog: ${dialog.message()}`);
      void dialog.dismiss();
    });
    await prepare(viewer.page);
    await viewer.page.goto(`${contextd.url}/dashboard#key=${contextd.key}`);
    await viewer.isLive();
    return viewer;
  }

  async isLive(): Promise<void> {
    await this.page.locator(".dash-pill[data-link=live]").waitFor({ timeout: 30_000 });
  }

  async go(place: string): Promise<void> {
    await this.page.evaluate((hash) => {
      location.hash = hash;
    }, `#/${place}`);
  }

  /** Numbers of the page by name, as they came. */
  async numbers(): Promise<Readonly<Record<string, number>>> {
    const pairs = await this.page.evaluate(() =>
      [...document.querySelectorAll<HTMLElement>("[data-stat]")].map(
        ({ dataset }): [string, number] => [dataset["stat"] ?? "", Number(dataset["value"])],
      ),
    );
    return Object.fromEntries(pairs);
  }

  /** Numbers of the announcements in the feed, the oldest first. */
  async told(): Promise<readonly number[]> {
    const found = await this.page
      .locator(".feed li")
      .evaluateAll((rows) => rows.map((row) => Number((row as HTMLElement).dataset["seq"])));
    return found.reverse();
  }

  /** What axe finds wrong, a line each. */
  async violations(): Promise<readonly string[]> {
    // Through the debugger: the page's policy lets no script in.
    if (!(await this.page.evaluate(() => "axe" in globalThis))) await this.page.evaluate(AXE);
    const results: AxeResults = await this.page.evaluate(async () => {
      for (const animation of document.getAnimations()) animation.cancel();
      return (
        globalThis as unknown as { axe: { run: (root: Document) => Promise<AxeResults> } }
      ).axe.run(document);
    });
    return results.violations.flatMap(({ id, nodes }) =>
      nodes.map((node) => `${id}: ${node.html.slice(0, 160)} ${node.any[0]?.message ?? ""}`),
    );
  }

  async leave(): Promise<void> {
    await this.context.close();
  }
}
