/** How many bytes a minute an idle tab costs, by each transport: `npm run measure:idle`. */

import { createServer, connect, type AddressInfo } from "node:net";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { TransportName } from "../../src/index.js";
import { until } from "../until.js";
import { clientOf, startContextd, type Contextd } from "./contextd.js";

/** Polls are at their slowest after 70 s. */
const SETTLE_MS = 80_000;
const MINUTE_MS = 60_000;

let server: Contextd;
beforeAll(async () => {
  server = await startContextd();
});
afterAll(async () => {
  await server.stop();
});

it.concurrent.each(["websocket", "sse", "long-poll", "poll"] as const)(
  "an idle tab by %s",
  async (transport: TransportName) => {
    const counted = await countingProxy(Number(new URL(server.url).port));
    const client = clientOf({ ...server, url: `http://127.0.0.1:${counted.port}` });
    const { context } = await client.service.createChat({ title: "Idle" });
    const sync = client.open(context.id, { transport });
    await until(sync, (state) => state.transport === transport);
    await wait(SETTLE_MS);
    const [sent, received] = [counted.sent(), counted.received()];
    await wait(MINUTE_MS);
    const up = counted.sent() - sent;
    const down = counted.received() - received;
    console.log(`${transport}: ${up} bytes up, ${down} bytes down in a minute`);
    expect(sync.state.transport).toBe(transport);
    client.dispose();
    counted.close();
  },
  SETTLE_MS + 2 * MINUTE_MS,
);

function wait(delayMs: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, delayMs));
}

/** A way to a port that counts what goes through it. */
async function countingProxy(to: number) {
  let [sent, received] = [0, 0];
  const proxy = createServer((near) => {
    const far = connect(to, "127.0.0.1");
    near.on("data", (bytes) => (sent += bytes.length));
    far.on("data", (bytes) => (received += bytes.length));
    near.on("error", () => far.destroy());
    far.on("error", () => near.destroy());
    near.pipe(far).pipe(near);
  });
  await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
  const { port } = proxy.address() as AddressInfo;
  return { port, sent: () => sent, received: () => received, close: () => proxy.close() };
}
