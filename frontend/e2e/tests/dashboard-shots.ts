/** Pictures of the dashboard for docs/images: `tsx tests/dashboard-shots.ts FOLDER`. */

import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { openBrowser } from "../support/browser.js";
import { Contextd } from "../support/contextd.js";
import { Viewer } from "./dashboard-viewer.js";

const folder = process.argv[2] ?? "shots";
const LOAD_S = Number(process.env["LOAD_S"] ?? 60);
mkdirSync(folder, { recursive: true });

const contextd = await Contextd.start();
const browser = await openBrowser();
const send = (id: string, content: string): Promise<unknown> =>
  contextd.api("POST", `/api/contexts/${id}/actions/send_message`, { content });
const make = async (title: string): Promise<string> =>
  (await contextd.api("POST", "/api/contexts", { title })).context.id;
const shoot = (viewer: Viewer, name: string): Promise<unknown> =>
  viewer.page.screenshot({ path: join(folder, `${name}.png`) });

try {
  const viewer = await Viewer.arrive(contextd, browser);
  const dark = await Viewer.arrive(contextd, browser, { colorScheme: "dark" });
  const phone = await Viewer.arrive(contextd, browser, {
    viewport: { width: 390, height: 844 },
    hasTouch: true,
    isMobile: true,
  });
  const ids = await Promise.all(
    Array.from({ length: 24 }, (_, index) => make(`Chat ${index.toString()}`)),
  );
  await send(ids[0] ?? "", '/tool calculator {"expression": "1240 * 12"}');
  const until = Date.now() + LOAD_S * 1_000;
  for (let turn = 0; Date.now() < until; turn += 1) {
    const some = 1 + Math.round(4 + 4 * Math.sin(turn / 9));
    await Promise.all(
      Array.from({ length: some }, (_, index) =>
        send(
          ids[1 + ((turn + index) % 22)] ?? "",
          `Question ${turn.toString()}\n/chunks 5 40`,
        ).catch(() => null),
      ),
    );
    await sleep(150);
  }
  await shoot(viewer, "dashboard");
  await viewer.page.screenshot({ path: join(folder, "dashboard-whole.png"), fullPage: true });
  await shoot(dark, "dashboard-dark");
  await shoot(phone, "dashboard-phone");
  await phone.page.locator(".dash").evaluate((dash) => {
    dash.scrollTop = 820;
  });
  await shoot(phone, "dashboard-phone-more");
  await viewer.page.locator(".dash").evaluate((dash) => {
    dash.scrollTop = 2_000;
  });
  await shoot(viewer, "dashboard-more");
  await viewer.go(`history/${ids[1] ?? ""}`);
  await viewer.page.locator(".travel").waitFor();
  await shoot(viewer, "dashboard-travel");
  await phone.go(`history/${ids[1] ?? ""}`);
  await phone.page.locator(".travel").waitFor();
  await phone.page.locator(".dash").evaluate((dash) => {
    dash.scrollTop = 0;
  });
  await shoot(phone, "dashboard-phone-travel");
  await viewer.go("overview");
  await viewer.page.getByRole("button", { name: "Restart", exact: true }).click();
  await shoot(viewer, "dashboard-restart-dialog");
  await viewer.page.getByRole("dialog").getByRole("textbox").fill("restart");
  await viewer.page.getByRole("dialog").getByRole("button", { name: "Restart" }).click();
  await viewer.page.locator(".restart li").nth(1).waitFor();
  await shoot(viewer, "dashboard-restart");
  await viewer.page.locator(".restart[data-status=complete]").waitFor({ timeout: 60_000 });
  for (const id of contextd.processes("worker")) process.kill(id, "SIGKILL");
  await viewer.page.locator(".status[data-level=warn], .status[data-level=bad]").waitFor();
  await shoot(viewer, "dashboard-trouble");
  console.log("wrong:", viewer.wrong, dark.wrong, phone.wrong);
} finally {
  await browser.close();
  await contextd.stop();
}
