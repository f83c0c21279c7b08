// SPDX-License-Identifier: Apache-2.0
// npm run vm -- [--kernel NAME] [COMMAND…]: boots each kernel of kernels.json and runs the command in it.
// Exit: the command's status, 69 when a VM cannot be had here.
import { parseArgs } from "node:util";
import { whyUnprivileged } from "../scripts/setup/machine.mjs";
import { fetchKernel } from "./fetch-kernel.ts";
import { readKernelList } from "./kernel-list.ts";
import { fetchEmulator } from "./parts.ts";
import { runInVm } from "./qemu.ts";
import { VmUnavailable } from "./unavailable.ts";

const TIMEOUT_MS = 900_000 * Number(process.env["SHUNT_PATIENCE"] ?? "1");

/** The command is one argument in quotes, so that its options are not taken for ours. */
function readArguments(): { kernel?: string; command: string } {
  try {
    const { values, positionals } = parseArgs({ options: { kernel: { type: "string" } }, allowPositionals: true });
    return { ...values, command: positionals.length > 0 ? positionals.join(" ") : "sh test/vm/smoke.sh" };
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\nusage: npm run vm -- [--kernel NAME] ['COMMAND']\n`);
    process.exit(2);
  }
}

const { kernel: onlyKernel, command } = readArguments();

async function main(): Promise<number> {
  const unprivileged = whyUnprivileged();
  if (unprivileged !== undefined) throw new VmUnavailable(unprivileged);
  const kernels = readKernelList().filter((kernel) => onlyKernel === undefined || kernel.name === onlyKernel);
  if (kernels.length === 0) throw new VmUnavailable(`vm/kernels.json has no kernel ${onlyKernel}`);
  const emulator = await fetchEmulator();
  let worst = 0;
  for (const entry of kernels) {
    const kernel = await fetchKernel(entry, emulator);
    process.stdout.write(`${entry.name}: Linux ${kernel.release}\n`);
    const onLine = (line: string): void => void process.stdout.write(`${line}\n`);
    const { boot } = entry;
    const { status } = await runInVm(kernel, emulator, {
      command: boot?.prepare === undefined ? command : `${boot.prepare}; ${command}`,
      timeoutMs: TIMEOUT_MS,
      onLine,
      ...(boot === undefined ? {} : { boot }),
    });
    process.stdout.write(`${entry.name}: exit ${status}\n`);
    worst = Math.max(worst, status);
  }
  return worst;
}

try {
  process.exitCode = await main();
} catch (error) {
  if (!(error instanceof VmUnavailable)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 69;
}
