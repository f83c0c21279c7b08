// SPDX-License-Identifier: Apache-2.0
import { spawn } from "node:child_process";
import { constants } from "node:os";
import { join } from "node:path";
import { root } from "./stamp.mjs";

/**
 * Runs a TypeScript file of this repository in the foreground and resolves with its exit code.
 * @param {string} file relative to the root
 * @param {readonly string[]} args
 * @param {readonly NodeJS.Signals[]} forwarded signals that it gets from us; SIGINT only if it may get it twice
 * @returns {Promise<number>}
 */
export function runTypeScript(file, args, forwarded = ["SIGTERM", "SIGHUP"]) {
  return runNode(["--import", "tsx", join(root, file), ...args], forwarded);
}

/**
 * Runs Node in the foreground and resolves with its exit code.
 * @param {readonly string[]} args
 * @param {readonly NodeJS.Signals[]} forwarded as above
 * @returns {Promise<number>}
 */
export function runNode(args, forwarded) {
  const child = spawn(process.execPath, args, { cwd: root, stdio: "inherit" });
  // A terminal sends Ctrl-C to the whole group; the child cleans up and its exit code is ours.
  const signals = /** @type {const} */ (["SIGINT", "SIGTERM", "SIGHUP"]);
  for (const signal of signals) process.on(signal, () => forwarded.includes(signal) && child.kill(signal));
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, signal) => resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal])));
  });
}
