/** A real `contextd up` with the scripted model, and clients of it. */

import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { WebSocket } from "ws";
import { createClient, type Client, type ClientOptions } from "../../src/index.js";

const ROOT = fileURLToPath(new URL("../../../../", import.meta.url));
const READY_MS_MAX = 50_000;

export interface Contextd {
  readonly url: string;
  readonly key: string;
  stop(): Promise<void>;
}

/** Start one on a free port; ready when it is returned. */
export async function startContextd(): Promise<Contextd> {
  const data = mkdtempSync(join(tmpdir(), "contextd-client-"));
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const server = spawn(
    process.env["PYTHON"] ?? "python",
    ["-m", "runtime.cli", "up", "--port", String(port), "--data", data],
    { cwd: ROOT, stdio: "ignore" },
  );
  const ended = new Promise<void>((resolve) =>
    server.once("exit", () => {
      resolve();
    }),
  );
  const stop = async (): Promise<void> => {
    server.kill("SIGTERM");
    await ended;
    rmSync(data, { recursive: true, force: true });
  };
  const until = Date.now() + READY_MS_MAX;
  for (;;) {
    const ready = await fetch(`${url}/readyz`).catch(() => null);
    if (ready?.ok === true) break;
    if (Date.now() > until || server.exitCode !== null) {
      await stop();
      throw new Error("contextd did not become ready");
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  return { url, key: readFileSync(join(data, "owner.key"), "utf8").trim(), stop };
}

/** A client, with sockets that Node 20 does not have itself. */
export function clientOf(server: Contextd, options: Partial<ClientOptions> = {}): Client {
  return createClient({
    baseUrl: server.url,
    apiKey: server.key,
    webSocket: (url) => new WebSocket(url) as unknown as globalThis.WebSocket,
    ...options,
  });
}

async function freePort(): Promise<number> {
  const probe = createServer();
  await new Promise<void>((resolve) => probe.listen(0, "127.0.0.1", resolve));
  const { port } = probe.address() as AddressInfo;
  await new Promise((resolve) => probe.close(resolve));
  return port;
}
