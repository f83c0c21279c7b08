// SPDX-License-Identifier: Apache-2.0
// npm run test:vm [-- --no-install …]: sets everything up, then runs vm/matrix.ts.
import "./setup/node-version.mjs";
import { runEntry } from "./setup/failure.mjs";
import { runTypeScript } from "./setup/run-typescript.mjs";
import { setUp, takeOptions } from "./setup/set-up.mjs";

await runEntry(async () => {
  const { install, rest } = takeOptions(process.argv.slice(2));
  await setUp({ purpose: "test", install });
  return runTypeScript("vm/matrix.ts", rest, ["SIGINT", "SIGTERM", "SIGHUP"]);
});
