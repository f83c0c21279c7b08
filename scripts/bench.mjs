// SPDX-License-Identifier: Apache-2.0
// npm run bench [-- --no-install …]: sets everything up on a fresh machine, then runs `shunt bench`.
import "./setup/node-version.mjs";
import { join } from "node:path";
import { runEntry, SetupFailure } from "./setup/failure.mjs";
import { whyUnprivileged } from "./setup/machine.mjs";
import { runNode } from "./setup/run-typescript.mjs";
import { setUp, takeOptions } from "./setup/set-up.mjs";
import { root } from "./setup/stamp.mjs";

await runEntry(async () => {
  const { install, rest } = takeOptions(process.argv.slice(2));
  const unprivileged = whyUnprivileged();
  if (unprivileged !== undefined) throw new SetupFailure(`npm run bench makes network namespaces; ${unprivileged}`, 69);
  await setUp({ purpose: "demo", install });
  return runNode([join(root, "dist/main.js"), "bench", ...rest], ["SIGINT", "SIGTERM", "SIGHUP"]);
});
