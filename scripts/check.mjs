// SPDX-License-Identifier: Apache-2.0
// npm run check: format, lint, types, unused code and the unit tests that need no addon. No root, no compiler.
import "./setup/node-version.mjs";
import { installDependencies } from "./setup/build-steps.mjs";
import { runEntry } from "./setup/failure.mjs";
import { runTypeScript } from "./setup/run-typescript.mjs";

await runEntry(async () => {
  await installDependencies();
  return runTypeScript("scripts/test/check.ts", process.argv.slice(2));
});
