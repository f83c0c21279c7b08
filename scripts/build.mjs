// SPDX-License-Identifier: Apache-2.0
// npm run build [-- bpf|addon|ts]: builds what is out of date; installs nothing.
import "./setup/node-version.mjs";
import { buildAddon, buildBpf, buildTypeScript } from "./setup/build-steps.mjs";
import { runEntry, SetupFailure } from "./setup/failure.mjs";
import "./setup/machine.mjs";

/** @type {Readonly<Record<string, () => Promise<void>>>} */
const parts = { bpf: buildBpf, addon: buildAddon, ts: buildTypeScript };

await runEntry(async () => {
  const names = process.argv.slice(2);
  for (const name of names.length > 0 ? names : Object.keys(parts)) {
    const build = parts[name];
    if (build === undefined)
      throw new SetupFailure(`unknown part ${name}; there are ${Object.keys(parts).join(", ")}`, 2);
    await build();
  }
  return 0;
});
