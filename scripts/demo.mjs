// SPDX-License-Identifier: Apache-2.0
// npm run demo [-- --no-install …]: sets everything up on a fresh machine, then runs scripts/demo/main.ts.
import "./setup/node-version.mjs";
import { runEntry, SetupFailure } from "./setup/failure.mjs";
import { whyNoBpf } from "./setup/kernel.mjs";
import { whyUnprivileged } from "./setup/machine.mjs";
import { runTypeScript } from "./setup/run-typescript.mjs";
import { setUp, takeOptions } from "./setup/set-up.mjs";

await runEntry(async () => {
  const { install, rest } = takeOptions(process.argv.slice(2));
  const unprivileged = whyUnprivileged();
  if (unprivileged !== undefined) throw new SetupFailure(`npm run demo makes network namespaces; ${unprivileged}`, 69);
  await setUp({ purpose: "demo", install });
  const noBpf = whyNoBpf();
  if (noBpf !== undefined) process.stdout.write(`${noBpf}\n`);
  return runTypeScript("scripts/demo/main.ts", rest, ["SIGINT", "SIGTERM", "SIGHUP"]);
});
