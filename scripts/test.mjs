// SPDX-License-Identifier: Apache-2.0
// npm test [-- --no-install|FILTER…]: sets everything up on a fresh machine, then runs scripts/test/main.ts.
// The last line of output is always "N passed, N failed, N skipped".
import "./setup/node-version.mjs";
import { runEntry, SetupFailure } from "./setup/failure.mjs";
import { runTypeScript } from "./setup/run-typescript.mjs";
import { setUp, takeOptions } from "./setup/set-up.mjs";

await runEntry(async () => {
  const { install, rest } = takeOptions(process.argv.slice(2));
  try {
    await setUp({ purpose: "test", install });
  } catch (error) {
    if (!(error instanceof SetupFailure)) throw error;
    process.stdout.write(`${error.message}\n0 passed, 1 failed, 0 skipped\n`);
    return error.exitCode;
  }
  // The time it took to set up counts.
  process.env["SHUNT_TEST_BEGAN"] = String(Math.round(performance.timeOrigin));
  return runTypeScript("scripts/test/main.ts", rest);
});
