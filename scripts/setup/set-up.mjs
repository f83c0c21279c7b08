// SPDX-License-Identifier: Apache-2.0
import { buildAddon, buildBpf, buildTypeScript, installDependencies } from "./build-steps.mjs";
import { readDistribution, whyUnsupported } from "./machine.mjs";
import { ensurePackages } from "./packages.mjs";

/**
 * From a fresh clone to a built program: only what is missing or out of date is done.
 * @param {{purpose: import("./packages.mjs").Purpose, install: boolean}} options
 */
export async function setUp(options) {
  await ensurePackages(options);
  const unsupported = whyUnsupported(readDistribution());
  if (unsupported !== undefined)
    process.stdout.write(`${unsupported}; everything needed is here, so it goes on, untested\n`);
  if (process.arch !== "x64" && process.arch !== "arm64") {
    process.stdout.write(`${process.arch} is neither x64 nor arm64: nothing was tried here; what builds may work\n`);
  }
  await installDependencies();
  await buildBpf();
  await buildAddon();
  await buildTypeScript();
}

/**
 * Splits our own options from what is handed on.
 * @param {readonly string[]} argv
 */
export function takeOptions(argv) {
  return { install: !argv.includes("--no-install"), rest: argv.filter((argument) => argument !== "--no-install") };
}
