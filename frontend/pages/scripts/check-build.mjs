/** Fails where `dashboard/static` is not what these sources build, byte for byte. */

import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const committed = fileURLToPath(new URL("../../../dashboard/static", import.meta.url));
const fresh = mkdtempSync(join(tmpdir(), "pages-"));
const files = (folder) =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
    .sort();

try {
  execFileSync("npx", ["vite", "build", "--logLevel", "error"], {
    cwd: fileURLToPath(new URL("..", import.meta.url)),
    env: { ...process.env, PAGES_OUT: fresh },
    stdio: "inherit",
  });
  const names = [...new Set([...files(committed), ...files(fresh)])].sort();
  const isSame = (name) => {
    try {
      return readFileSync(join(committed, name)).equals(readFileSync(join(fresh, name)));
    } catch {
      return false;
    }
  };
  const stale = names.filter((name) => !isSame(name));
  if (stale.length > 0) {
    console.error(`dashboard/static is not what the sources build: ${stale.join(", ")}.`);
    console.error("Run `npm run build -w pages` in frontend/ and commit what it writes.");
    process.exitCode = 1;
  }
} finally {
  rmSync(fresh, { recursive: true });
}
