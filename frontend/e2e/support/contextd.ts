/** A contextd of the tests' own: two gateways and two workers on a free port, in a folder that goes away. */

import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));
const PYTHON = process.env["PYTHON"] ?? "python3";
const READY_MS_MAX = 60_000;
const STOP_MS_MAX = 30_000;
const LOOK_MS = 50;

/** Changes all that is kept of a context into what nobody can open. */
const SPOIL = `
import sys
import redis
from storage import keys
store = redis.Redis(unix_socket_path=sys.argv[1])
snapshot, log = keys.of_context(sys.argv[2], "snap", "log")
store.hset(keys.meta(sys.argv[2]), "summary", b"\\xffchanged")
store.hset(snapshot, "head", b"\\xffchanged")
entries = store.xrange(log)
store.delete(log)
for place, _ in entries:
    store.xadd(log, {"e": b"\\xffchanged"}, place)
`;

/** What tests read of answers; which of it there is, depends on what was asked. */
export interface Answered {
  readonly status: string;
  readonly context: {
    readonly id: string;
    readonly title: string;
    readonly cursor: string;
    readonly config: Readonly<Record<string, unknown>>;
    readonly messages: readonly Said[];
  };
  readonly contexts: readonly { readonly id: string }[];
}

export interface Said {
  readonly id: string;
  readonly role: string;
  readonly content: string;
  readonly client_message_id: string | null;
  readonly created_at: string;
}

export interface ContextdOptions {
  readonly auth?: "keys" | "off";
}

export class Contextd {
  readonly url: string;
  readonly #port: number;
  readonly #data: string;
  readonly #options: ContextdOptions;
  #process: ChildProcess;
  #log = "";

  private constructor(port: number, data: string, options: ContextdOptions) {
    this.#port = port;
    this.#data = data;
    this.#options = options;
    this.url = `http://127.0.0.1:${port.toString()}`;
    this.#process = this.#spawn();
  }

  static async start(options: ContextdOptions = {}): Promise<Contextd> {
    const contextd = new Contextd(
      await freePort(),
      mkdtempSync(join(tmpdir(), "contextd-e2e-")),
      options,
    );
    await contextd.ready();
    return contextd;
  }

  /** The key that opens everything; empty where nobody is asked for one. */
  get key(): string {
    return this.#options.auth === "off"
      ? ""
      : readFileSync(join(this.#data, "owner.key"), "utf8").trim();
  }

  /** Another key; without scopes it reads and writes the contexts of its owner. */
  newKey(owner: string, ...scopes: readonly string[]): string {
    const file = join(this.#data, `${owner}-${scopes.join("-").replace(":", "-")}.key`);
    const options = scopes.flatMap((scope) => ["--scope", scope]);
    execFileSync(
      PYTHON,
      [
        ...["-m", "runtime.cli", "keys", "create", "e2e", "--owner", owner, "--file", file],
        ...["--data", this.#data, ...options],
      ],
      { cwd: ROOT },
    );
    return readFileSync(file, "utf8").trim();
  }

  /** Ask the API, as another program would. */
  async api(
    method: string,
    path: string,
    body?: unknown,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<Answered> {
    const response = await fetch(this.url + path, {
      method,
      headers: {
        ...(this.key === "" ? {} : { Authorization: `Bearer ${this.key}` }),
        "Content-Type": "application/json",
        ...headers,
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    if (!response.ok)
      throw new Error(`${method} ${path}: ${response.status.toString()} ${text}`);
    return JSON.parse(text === "" ? "{}" : text) as Answered;
  }

  async ready(): Promise<void> {
    await until(
      "contextd is ready",
      async () => (await fetch(`${this.url}/readyz`)).ok,
      READY_MS_MAX,
      () => this.#log,
    );
  }

  /** Ids of the processes of one kind that run now. */
  processes(role: "gateway" | "worker"): readonly number[] {
    const listed = execFileSync("ps", ["-eo", "pid=,ppid=,args="], { encoding: "utf8" });
    return listed
      .split("\n")
      .map((line) => /^\s*(\d+)\s+(\d+)\s+(.*)$/.exec(line))
      .filter((found) => found !== null)
      .filter(
        ([, , parent, command]) =>
          Number(parent) === this.#process.pid && command?.endsWith(`runtime.cli ${role}`),
      )
      .map(([, id]) => Number(id));
  }

  /** Kill everything at once, as a power cut of the machine's processes would. */
  async kill(): Promise<void> {
    const running = this.#process;
    const ids = [...this.processes("gateway"), ...this.processes("worker")];
    running.kill("SIGKILL");
    for (const id of ids) killed(id);
    await ended(running);
  }

  /** Have contexts that cannot be opened, and processes that remember nothing of them. */
  async spoil(...ids: readonly string[]): Promise<void> {
    const socket = join(this.#data, "store.sock");
    for (const id of ids) execFileSync(PYTHON, ["-c", SPOIL, socket, id], { cwd: ROOT });
    await this.kill();
    await this.startAgain();
  }

  /** Start again what was killed or stopped, on the same port and folder. */
  async startAgain(): Promise<void> {
    this.#process = this.#spawn();
    await this.ready();
  }

  /** Drain and stop. */
  async halt(): Promise<void> {
    this.#process.kill("SIGTERM");
    await ended(this.#process);
  }

  async stop(): Promise<void> {
    await this.halt();
    rmSync(this.#data, { recursive: true, force: true });
  }

  #spawn(): ChildProcess {
    const flags = [
      "--port",
      this.#port.toString(),
      "--data",
      this.#data,
      "--gateways",
      "2",
      "--workers",
      "2",
    ];
    const started = spawn(PYTHON, ["-m", "runtime.cli", "up", ...flags], {
      cwd: ROOT,
      env: { ...process.env, CONTEXTD_AUTH: this.#options.auth ?? "keys" },
      stdio: ["ignore", "pipe", "pipe"],
    });
    const keep = (text: Buffer): void => {
      this.#log = (this.#log + text.toString()).slice(-20_000);
    };
    started.stdout.on("data", keep);
    started.stderr.on("data", keep);
    return started;
  }
}

/** Look until something is so. */
export async function until(
  what: string,
  isSo: () => boolean | Promise<boolean>,
  patienceMs = 60_000,
  more: () => string = () => "",
): Promise<void> {
  const endsAt = Date.now() + patienceMs;
  for (;;) {
    if (
      await Promise.resolve()
        .then(isSo)
        .catch(() => false)
    )
      return;
    if (Date.now() > endsAt)
      throw new Error(`Not within ${patienceMs.toString()} ms: ${what}. ${more()}`);
    await sleep(LOOK_MS);
  }
}

function killed(id: number): void {
  try {
    process.kill(id, "SIGKILL");
  } catch {
    // It has ended by itself.
  }
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  await Promise.race([
    new Promise((resolve) => child.once("exit", resolve)),
    sleep(STOP_MS_MAX, undefined, { ref: false }).then(() => child.kill("SIGKILL")),
  ]);
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
