/**
 * Writes `src/generated/api.ts` from the gateway's own OpenAPI document; no server is needed.
 *
 * `--check` writes nothing and fails where the file is not what it would write. Deprecated
 * operations and the doors for OpenAI's clients are left out, and what only they need.
 */
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import openapiTS, { astToString } from "openapi-typescript";

const DESCRIBE = `
import json
from gateway.openapi import describe
from gateway.routes import ROUTES
print(json.dumps(describe(ROUTES)))
`;
const DOCUMENT_BYTES_MAX = 64 * 1024 * 1024;

const root = fileURLToPath(new URL("../../../", import.meta.url));
const file = new URL("../src/generated/api.ts", import.meta.url);

/** The document without what no client of ours asks for. */
function pruned(document) {
  const paths = {};
  for (const [path, operations] of Object.entries(document.paths)) {
    if (path.startsWith("/v1/")) continue;
    const kept = Object.entries(operations).filter(([, operation]) => !operation.deprecated);
    if (kept.length > 0) paths[path] = Object.fromEntries(kept);
  }
  const { schemas, responses, ...components } = document.components;
  delete responses["openai-error"];
  const reached = {};
  const waiting = [paths, responses];
  while (waiting.length > 0) {
    const named = JSON.stringify(waiting.pop()).matchAll(/#\/components\/schemas\/([^"]+)/g);
    for (const [, name] of named) {
      if (name in reached) continue;
      reached[name] = schemas[name];
      waiting.push(schemas[name]);
    }
  }
  // The version is that of the installed server: the types are the same without it.
  const info = { ...document.info, version: "0" };
  return {
    ...document,
    info,
    paths,
    components: { ...components, responses, schemas: reached },
  };
}

/** Titles repeat the names that they stand beside. */
function untitled(value) {
  if (Array.isArray(value)) return value.map(untitled);
  if (value === null || typeof value !== "object") return value;
  const kept = Object.entries(value).filter(
    ([key, inner]) => key !== "title" || typeof inner !== "string",
  );
  return Object.fromEntries(kept.map(([key, inner]) => [key, untitled(inner)]));
}

const document = execFileSync(process.env.PYTHON ?? "python", ["-c", DESCRIBE], {
  cwd: root,
  encoding: "utf8",
  maxBuffer: DOCUMENT_BYTES_MAX,
});
const { info, ...rest } = pruned(JSON.parse(document));
const ast = await openapiTS(
  { info, ...untitled(rest) },
  { immutable: true, alphabetize: true, defaultNonNullable: false },
);
const text = `// Written by \`npm run generate\` from the gateway's OpenAPI document.\n\n${astToString(ast)}`;

if (process.argv.includes("--check")) {
  if (readFileSync(file, "utf8") !== text) {
    console.error("src/generated/api.ts is stale: run `npm run generate` and commit it.");
    process.exitCode = 1;
  }
} else {
  writeFileSync(file, text);
}
