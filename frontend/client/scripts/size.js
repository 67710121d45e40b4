/** Fails where the client, bundled and minified as pages would, is larger than it may be. */
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const BYTES_MAX = 15 * 1024;

for (const entry of ["src/index.ts", "src/react/index.ts"]) {
  const { outputFiles } = await build({
    entryPoints: [entry],
    absWorkingDir: new URL("..", import.meta.url).pathname,
    bundle: true,
    minify: true,
    write: false,
    format: "esm",
    target: "es2022",
    external: ["react"],
  });
  const bytes = gzipSync(outputFiles[0].contents, { level: 9 }).length;
  console.log(`${entry}: ${bytes} bytes gzipped, of ${BYTES_MAX}`);
  if (bytes > BYTES_MAX) process.exitCode = 1;
}
