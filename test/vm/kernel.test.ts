// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it, type TestContext } from "vitest";
import { fetchKernel } from "../../vm/fetch-kernel.ts";
import { readKernelList } from "../../vm/kernel-list.ts";
import { fetchEmulator } from "../../vm/parts.ts";
import { runInVm, type VmRun } from "../../vm/qemu.ts";
import { VmUnavailable } from "../../vm/unavailable.ts";

const patience = Number(process.env["SHUNT_PATIENCE"] ?? "1");

/** Runs a command under a kernel, or skips with what is missing to do so. */
async function inVm(
  context: TestContext,
  entry: (typeof kernels)[number],
  command: string,
): Promise<VmRun & { release: string }> {
  try {
    const emulator = await fetchEmulator();
    const kernel = await fetchKernel(entry, emulator);
    return {
      ...(await runInVm(kernel, emulator, { command, timeoutMs: 540_000 * patience })),
      release: kernel.release,
    };
  } catch (error) {
    if (error instanceof VmUnavailable) return context.skip(`no VM: ${error.message}`);
    throw error;
  }
}

// `npm run test:vm` boots them all.
const kernels = readKernelList().filter((entry) => entry.inTestRun);

describe.each(kernels)("under the $name kernel", (entry) => {
  it("the smoke script succeeds", async (context) => {
    const run = await inVm(context, entry, "sh test/vm/smoke.sh");
    expect(run.status, `${run.output}\n${run.console}`).toBe(0);
    expect(run.output).toContain(`kernel ${run.release}`);
  });

  it("traffic goes through the agent in every mode", async (context) => {
    const run = await inVm(context, entry, "sh test/vm/traffic.sh");
    expect(run.status, `${run.output}\n${run.console}`).toBe(0);
    for (const part of ["ebpf", "mixed", "iptables", "exec"]) expect(run.output).toContain(`${part}: ok`);
  });

  it("answers of several resolvers are told apart, and getsockopt is left as it was", async (context) => {
    const run = await inVm(context, entry, "sh test/vm/sockets.sh");
    expect(run.status, `${run.output}\n${run.console}`).toBe(0);
    for (const part of ["getsockopt", "external proxy", "dns"]) expect(run.output).toContain(`${part}: ok`);
  });

  it("a command's failure comes out as its exit status, and its last line without a newline too", async (context) => {
    const run = await inVm(context, entry, "printf half; exit 7");
    expect(run).toMatchObject({ status: 7, output: "half" });
  });
});
