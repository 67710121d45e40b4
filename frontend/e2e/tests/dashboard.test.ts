/** The dashboard over two gateways and two workers: honest, live, and there after a restart. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { until } from "../support/contextd.js";
import { suite, type Stage } from "../support/suite.js";
import type { Stats } from "../../pages/src/dashboard/wire.js";
import { read, Viewer } from "./dashboard-viewer.js";

const HOSTILE = "<img src=x onerror=\"alert('out')\"><script>alert(1)</script>${7*7}{{7*7}}";
const LETTER = {
  ...{ id: "a.1", context_id: HOSTILE, at_ms: 1, cause: HOSTILE, action: HOSTILE },
  ...{ event: { content: HOSTILE }, webhook: null },
};

const arrive = (
  stage: Stage,
  ...more: [Parameters<typeof Viewer.arrive>[2]?, Parameters<typeof Viewer.arrive>[3]?]
): Promise<Viewer> => Viewer.arrive(stage.contextd, stage.browser, ...more);

/** A number of statistics, by its path; what is not counted there is 0. */
function at(stats: Stats, path: string): unknown {
  const found = path
    .split(".")
    .reduce<unknown>((part, name) => (part as Record<string, unknown>)[name] ?? 0, stats);
  return found;
}

const statsOf = (stage: Stage): Promise<Stats> => read(stage.contextd, "/api/v1/stats");

/** Kill the gateway that has the dashboard. */
async function killItsGateway(stage: Stage): Promise<void> {
  await until("a gateway says that it has the dashboard", async () => {
    const { processes } = await statsOf(stage);
    const its = processes.find(({ load }) => (load["viewers_dashboard"] ?? 0) > 0);
    if (its === undefined) return false;
    assert.ok(stage.contextd.processes("gateway").includes(its.process_id));
    process.kill(its.process_id, "SIGKILL");
    return true;
  });
}

suite("the dashboard", (stage) => {
  test("goes on without a gap or a repetition when its gateway is killed", async () => {
    const chat = await stage.chat("Cut off");
    const viewer = await arrive(stage);
    await stage.say(chat, "before");
    await killItsGateway(stage);
    await until("there is another socket", () => viewer.sockets === 2);
    await until("it is said meanwhile", async () =>
      stage.say(chat, "meanwhile").then(() => true),
    );
    await viewer.isLive();
    await stage.say(chat, "after");
    await until("the feed has everything", async () => {
      const told = await viewer.told();
      assert.deepEqual(
        told,
        told.map((_, index) => (told[0] ?? 0) + index),
      );
      return told.at(-1) === (await statsOf(stage)).announcements.seq;
    });
    assert.deepEqual(viewer.wrong, []);
    await viewer.leave();
    await until(
      "the killed gateway is replaced",
      () => stage.contextd.processes("gateway").length === 2,
    );
  });

  test("shows the numbers of GET /api/v1/stats", async () => {
    const chat = await stage.chat("Counted", "one", "two");
    const viewer = await arrive(stage);
    await until("the page has them all", async () => {
      const [shown, stats] = [await viewer.numbers(), await statsOf(stage)];
      const exact = Object.keys(shown).filter(
        (name) => !/per_s$|^viewers$|^errors|memory|announcements|skipped_clean/.test(name),
      );
      assert.ok(exact.length > 12 && stats.turns.started >= 2);
      for (const name of exact) assert.equal(shown[name], at(stats, name), name);
      return true;
    });
    await until(
      "the killed gateway is forgotten",
      async () => (await viewer.page.locator("[data-process]").count()) === 4,
      60_000,
    );
    await viewer.page.locator(".status[data-level=good]").waitFor();
    assert.deepEqual(viewer.wrong, [], chat);
    await viewer.leave();
  });

  test("tells of a turn by itself", async () => {
    const chat = await stage.chat("Fed");
    const viewer = await arrive(stage);
    const link = viewer.page.locator(`.feed li[data-type=turn_ended] a[title="${chat}"]`);
    await stage.say(chat, "hello");
    await link.first().waitFor();
    await viewer.leave();
  });

  test("restarts all processes, shows each of them, and is there after", async () => {
    const viewer = await arrive(stage);
    // One that a test before has killed is shown for as long as it may be silent.
    await until("four processes are there", async () => {
      const { processes } = await statsOf(stage);
      return processes.length === 4;
    });
    const before = (await statsOf(stage)).processes.map(({ process_id }) => process_id);
    await viewer.page.getByRole("button", { name: "Restart", exact: true }).click();
    const dialog = viewer.page.getByRole("dialog");
    assert.equal(await dialog.getByRole("button", { name: "Restart" }).isDisabled(), true);
    await dialog.getByRole("textbox").fill("restart");
    await dialog.getByRole("button", { name: "Restart" }).click();
    await viewer.page.locator(".restart[data-status=complete]").waitFor({ timeout: 60_000 });
    const steps = await viewer.page.locator(".restart li b").allInnerTexts();
    assert.deepEqual(steps.map((step) => Number(/\d+/.exec(step)?.[0])).sort(), before.sort());
    await viewer.isLive();
    const chat = await stage.chat("After the restart", "hello");
    await viewer.page.locator(`.feed a[title="${chat}"]`).first().waitFor();
    assert.deepEqual(viewer.wrong, []);
    await viewer.leave();
  });

  test("decides on a dead letter only once it is meant", async () => {
    const asked: string[] = [];
    const viewer = await arrive(stage, {}, (page) =>
      page.route("**/admin/dead_letters**", (route) => {
        const request = route.request();
        asked.push(`${request.method()} ${new URL(request.url()).pathname}`);
        return request.method() === "GET"
          ? route.fulfill({ json: { count: 1, dead_letters: [LETTER] } })
          : route.fulfill({ json: {} });
      }),
    );
    const decisions = (): readonly string[] => asked.filter((each) => !each.startsWith("GET"));
    await viewer.go("letters");
    await viewer.page.getByRole("button", { name: /^Drop / }).click();
    await viewer.page.getByRole("dialog").getByRole("button", { name: "Cancel" }).click();
    assert.deepEqual(decisions(), []);
    await viewer.page.getByRole("button", { name: /^Drop / }).click();
    await viewer.page.getByRole("button", { name: "Drop for ever" }).click();
    await viewer.page.getByRole("dialog").waitFor({ state: "detached" });
    await viewer.page.getByRole("button", { name: /^Retry / }).click();
    await viewer.page.getByRole("dialog").getByRole("button", { name: "Retry" }).click();
    await viewer.page.getByRole("dialog").waitFor({ state: "detached" });
    assert.deepEqual(decisions(), [
      "DELETE /admin/dead_letters/a.1",
      "POST /admin/dead_letters/a.1/retry",
    ]);
    await viewer.leave();
  });

  test("goes through the versions of a context", async () => {
    const chat = await stage.chat("Travelled", "first words", "last words");
    const viewer = await arrive(stage);
    await viewer.go(`history/${chat}`);
    const { version } = await read<{ version: number }>(
      stage.contextd,
      `/api/contexts/${chat}/state`,
    );
    await viewer.page.locator(`.travel[data-version="${version}"]`).waitFor();
    const slider = viewer.page.getByRole("slider", { name: "Version" });
    for (let wanted = version; wanted >= 1; wanted -= 1) {
      const then = await read<{ context: { messages: readonly unknown[] } }>(
        stage.contextd,
        `/api/contexts/${chat}/state?at_version=${wanted}`,
      );
      await viewer.page.locator(`.travel[data-version="${wanted}"]`).waitFor();
      assert.equal(
        await viewer.page.locator(".travel-messages li").count(),
        then.context.messages.length,
      );
      const shown = await viewer.page.locator(".travel-side pre").last().textContent();
      const state = JSON.parse(shown ?? "") as { version: number };
      assert.equal(state.version, wanted);
      await slider.press("ArrowLeft");
    }
    await viewer.page.locator("h2").first().click();
    await viewer.page.keyboard.press("End");
    await viewer.page.locator(`.travel[data-version="${version}"]`).waitFor();
    assert.match(await viewer.page.locator(".changes").innerText(), /version/);
    await viewer.go("history/01a20183-344b-7605-9721-000000000000");
    await viewer.page.getByRole("alert").filter({ hasText: "no such context" }).waitFor();
    assert.deepEqual(viewer.wrong, []);
    await viewer.leave();
  });

  test("shows hostile text as text", async () => {
    const chat = await stage.chat(HOSTILE, HOSTILE);
    const record = {
      timestamp: HOSTILE,
      event_type: HOSTILE,
      endpoint: HOSTILE,
      latency_ms: 1,
      status: 500,
      metadata: { problem: HOSTILE },
    };
    const glance = {
      ...{
        id: HOSTILE,
        owner: HOSTILE,
        status: HOSTILE,
        version: 1,
        changed_at: HOSTILE,
        waits_since: HOSTILE,
      },
      ...{ worker: HOSTILE, mail: 1, attempts: 0, trouble: "stuck" },
    };
    const viewer = await arrive(stage, {}, async (page) => {
      await page.route("**/admin/dead_letters**", (route) =>
        route.fulfill({ json: { count: 1, dead_letters: [LETTER] } }),
      );
      await page.route("**/activity/recent**", (route) =>
        route.fulfill({ json: { events: [record] } }),
      );
      await page.route("**/admin/contexts**", (route) =>
        route.fulfill({ json: { contexts: [glance], complete: true } }),
      );
      await page.routeWebSocket(/ws\/dashboard/, (socket) => {
        const server = socket.connectToServer();
        socket.onMessage((message) => {
          server.send(message);
        });
        server.onMessage((message) => {
          socket.send(hostile(String(message)));
        });
      });
    });
    for (const place of ["letters", "activity", "contexts", `history/${chat}`, "overview"]) {
      await viewer.go(place);
      await viewer.page.getByText("<img src=x").first().waitFor({ state: "attached" });
      assert.equal(await viewer.page.locator("img, main script").count(), 0, place);
    }
    assert.deepEqual(viewer.wrong, []);
    await viewer.leave();
  });

  for (const colorScheme of ["light", "dark"] as const) {
    test(`has nothing that axe finds wrong, ${colorScheme}`, async () => {
      const chat = await stage.chat("Looked at", "hello");
      const letters = {
        count: 1,
        dead_letters: [
          { ...LETTER, context_id: chat, cause: "worker ended", action: "send_message" },
        ],
      };
      const viewer = await arrive(stage, { colorScheme }, (page) =>
        page.route("**/admin/dead_letters**", (route) => route.fulfill({ json: letters })),
      );
      for (const place of ["overview", "activity", "contexts", "letters", `history/${chat}`]) {
        await viewer.go(place);
        await viewer.page
          .locator(place.startsWith("history/") ? ".travel" : ".panel-box")
          .first()
          .waitFor();
        assert.deepEqual(await viewer.violations(), [], place);
      }
      await viewer.page.getByRole("button", { name: "Restart", exact: true }).click();
      assert.deepEqual(await viewer.violations(), [], "restart");
      await viewer.leave();
    });
  }

  test("fits a phone", async () => {
    const viewer = await arrive(stage, {
      viewport: { width: 360, height: 740 },
      hasTouch: true,
      isMobile: true,
    });
    const chat = await stage.chat("Narrow", "hello");
    for (const place of ["overview", "activity", "contexts", "letters", `history/${chat}`]) {
      await viewer.go(place);
      await viewer.page.locator(".panel-box").first().waitFor();
      const overhang = await viewer.page
        .locator(".dash")
        .evaluate((dash) => dash.scrollWidth - dash.clientWidth);
      assert.equal(overhang, 0, place);
      if (place === "overview")
        await viewer.page.locator(".table-box .hidden-text").waitFor({ state: "attached" });
      const width = await viewer.page.evaluate(() => document.documentElement.scrollWidth);
      assert.equal(width, 360, place);
    }
    await viewer.leave();
  });
});

/** The same message with markup in every text that is shown. */
function hostile(text: string): string {
  const message = JSON.parse(text) as { type: string; data: Record<string, unknown> };
  if (message.type === "personal" || message.type === "connection_ack") return text;
  if (message.type !== "stats_update") {
    const names = Object.keys(message.data);
    return JSON.stringify({
      ...message,
      data: Object.fromEntries(
        names.map((name) => [name, name === "tools" ? [HOSTILE] : HOSTILE]),
      ),
    });
  }
  const stats = message.data as unknown as Stats;
  const strange = { role: HOSTILE, host: HOSTILE, load: { [HOSTILE]: 1 } };
  return JSON.stringify({
    ...message,
    data: {
      ...stats,
      errors: { [HOSTILE]: 1 },
      contexts: { ...stats.contexts, by_phase: { [HOSTILE]: 1 } },
      processes: stats.processes.map((each) => ({ ...each, ...strange })),
    },
  });
}
