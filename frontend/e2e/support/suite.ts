/** What every file of tests has: a contextd, a browser, and a place to skip loudly. */

import { after, before, describe } from "node:test";

import type { Browser } from "playwright-core";

import { browserPath, openBrowser, Person, type ArrivalOptions } from "./browser.js";
import { Contextd, type Answered, type ContextdOptions } from "./contextd.js";

export class Stage {
  contextd!: Contextd;
  browser!: Browser;

  /** A person of a browser profile of their own. */
  arrive(options: ArrivalOptions = {}): Promise<Person> {
    return Person.arrive(this.contextd, this.browser, options);
  }

  /** A chat made by another program; its id. */
  async chat(title: string, ...contents: readonly string[]): Promise<string> {
    const made = await this.contextd.api("POST", "/api/contexts", { title });
    const { id } = made.context;
    for (const content of contents) await this.say(id, content);
    return id;
  }

  /** Say something in it, and wait until it rests. */
  async say(id: string, content: string): Promise<Answered> {
    return this.contextd.api(
      "POST",
      `/api/contexts/${id}/actions/send_message`,
      { content },
      { Prefer: "wait=30" },
    );
  }

  state(id: string): Promise<Answered> {
    return this.contextd.api("GET", `/api/contexts/${id}/state`);
  }
}

/** A group of tests over one contextd and one browser. */
export function suite(
  name: string,
  tests: (stage: Stage) => void,
  options: ContextdOptions = {},
): void {
  const stage = new Stage();
  const skip =
    browserPath() === undefined
      ? "SKIPPED: there is no Chromium; set CHROMIUM to the path of one."
      : false;
  if (skip !== false) console.error(skip);
  describe(name, { skip, concurrency: false, timeout: 1_800_000 }, () => {
    before(async () => {
      [stage.contextd, stage.browser] = await Promise.all([
        Contextd.start(options),
        openBrowser(),
      ]);
    });
    after(async () => {
      await stage.browser.close();
      await stage.contextd.stop();
    });
    tests(stage);
  });
}
