// SPDX-License-Identifier: Apache-2.0
/** A workload that is named by a process in it, without a configuration file. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, readlinkSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import type { ConnectionRecord } from "../../../src/proxy/connection-record.ts";
import { eventually } from "../../support/inbox.ts";
import { ask, LabProcess, LabProcesses, tellServer } from "../../support/lab-process.ts";
import { inEveryMode } from "../../support/modes.ts";
import { NetLab } from "../../support/net-lab.ts";
import { endpoint } from "../../support/pod-pair.ts";
import { shuntArgv, uniqueName } from "../../support/shunt.ts";

inEveryMode("a workload by pid", (mode) => {
  it("is the network namespace of that process, and stays so when the process ends", async () => {
    using lab = new NetLab();
    await using processes = new LabProcesses();
    await processes.start(tellServer("python", "::", [80]), lab.server.path);
    const folder = mkdtempSync(join(tmpdir(), `shunt-test-${process.pid}-pid-`));
    const record = join(folder, "records.jsonl");
    const sleep = spawn("nsenter", [`--net=${lab.client.path}`, "--", "sleep", "600"], { stdio: "ignore" });
    const ended = once(sleep, "exit");
    const { pid = 0 } = sleep;
    try {
      const inode = statSync(lab.client.path).ino;
      await eventually(() => readlinkSync(`/proc/${pid}/ns/net`) === `net:[${inode}]`);
      const flags = ["--name", uniqueName("pid"), "--mode", mode, "--record", record, "--workload-pid", String(pid)];
      await using agent = await LabProcess.start(shuntArgv(["run", ...flags]));
      const { v4, v6 } = lab.server;
      expect(await ask("curl", lab.client.path, v4, 80)).toMatchObject({ peer: [v4, 80] });
      sleep.kill("SIGKILL");
      await ended;
      expect(await ask("curl", lab.client.path, v6, 80)).toMatchObject({ peer: [v6, 80] });
      const stopped = once(agent.child, "exit");
      agent.child.kill("SIGTERM");
      expect((await stopped)[0], agent.lines.join("\n")).toBe(0);
      const lines = readFileSync(record, "utf8").trim().split("\n");
      expect(lines.map((line) => JSON.parse(line) as ConnectionRecord)).toMatchObject(
        [v4, v6].map((address) => ({
          workload: `pid-${pid}`,
          direction: "outbound",
          originalDestination: endpoint(address, 80),
          outcome: "closed",
        })),
      );
    } finally {
      sleep.kill("SIGKILL");
      rmSync(folder, { recursive: true, force: true });
    }
  });
});
