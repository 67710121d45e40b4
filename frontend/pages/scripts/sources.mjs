/** The digest of all that the build is made of; tests/dashboard/test_pages.py computes the same. */

import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const FRONTEND = fileURLToPath(new URL("../../", import.meta.url));
const ROOTS = ["client/src", "pages/src"];
const FILES = [
  "package-lock.json",
  "pages/dashboard.html",
  "pages/index.html",
  "pages/vite.config.ts",
];

export function sourcesDigest() {
  const found = ROOTS.flatMap((root) =>
    readdirSync(FRONTEND + root, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile() && !/\.test\.tsx?$/.test(entry.name))
      .map((entry) => `${entry.parentPath}/${entry.name}`.slice(FRONTEND.length)),
  );
  const digest = createHash("sha256");
  for (const path of [...FILES, ...found].sort()) {
    digest.update(`${path}\0`);
    digest.update(readFileSync(FRONTEND + path));
    digest.update("\0");
  }
  return digest.digest("hex");
}
