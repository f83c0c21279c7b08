// SPDX-License-Identifier: Apache-2.0
/** Mode mixed: eBPF outbound and rules inbound are changed and removed together, also when one of them refuses. */
import { existsSync, mkdtempSync, readdirSync, rmSync, symlinkSync, unlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { findCommand } from "../../../scripts/setup/machine.mjs";
import { Bpffs } from "../../../src/bpf/bpffs.ts";
import type { StatusReport } from "../../../src/config/formats/status.ts";
import { LabProcesses, tellServer } from "../../support/lab-process.ts";
import { NetLab } from "../../support/net-lab.ts";
import { fateOf, Prober } from "../../support/prober.ts";
import { runCommand, ShuntAgent } from "../../support/shunt.ts";

const PORT = 8080;
const FREEZE_MAP = join(import.meta.dirname, "../../support/programs/freeze_map.py");
const TOOLS = ["nsenter", "unshare", "sh", "ip", "ss", "cat", "tee"];
const RESTORE = ["", "-nft", "-legacy"].flatMap((kind) => [`iptables${kind}-restore`, `ip6tables${kind}-restore`]);
const SAVE = RESTORE.map((name) => name.replace("restore", "save"));

/** A PATH of the agent's own, from which programs can be taken away while it runs. */
class Programs implements Disposable {
  readonly folder = mkdtempSync(join(tmpdir(), "shunt-test-programs-"));

  constructor(names: readonly string[]) {
    this.install(names);
  }

  install(names: readonly string[]): void {
    for (const name of names) {
      const path = findCommand(name);
      if (path !== undefined) symlinkSync(path, join(this.folder, name));
    }
  }

  uninstall(names: readonly string[]): void {
    for (const name of readdirSync(this.folder)) if (names.includes(name)) unlinkSync(join(this.folder, name));
  }

  [Symbol.dispose](): void {
    rmSync(this.folder, { recursive: true });
  }
}

let lab: NetLab;
let processes: LabProcesses;

beforeEach(async () => {
  lab = new NetLab("halves");
  processes = new LabProcesses();
  await processes.start(tellServer("node", lab.server.v4, [PORT]), lab.server.path);
});

afterEach(async () => {
  await processes[Symbol.asyncDispose]();
  lab[Symbol.dispose]();
});

function file(outbound: object, inbound: object): Record<string, unknown> {
  return { mode: "mixed", workers: 1, workloads: [{ name: "client", netns: lab.client.path, outbound, inbound }] };
}

/** One connection out of the client's namespace. */
async function fate(): Promise<string> {
  await using prober = await Prober.start(lab.client.path, PORT, [lab.server.v4], { ownPorts: true });
  await prober.until(() => true, 0, [lab.server.v4], 1);
  const [first] = prober.probes();
  return first ? fateOf(first) : "none";
}

/** The rules in force, without what counts by itself. */
async function rules(): Promise<string> {
  const { stdout } = await runCommand(["sh", "-c", "iptables-save; ip6tables-save"], { netns: lab.client.path });
  return stdout.replaceAll(/^#.*$|\[\d+:\d+\]/gm, "");
}

it("a change whose rules are refused is taken back outbound as well, and works when it is tried again", async () => {
  using programs = new Programs([...TOOLS, ...RESTORE, ...SAVE]);
  const before = file({ excludePorts: [PORT] }, {});
  const after = file({ excludePorts: [] }, { excludePorts: [7070] });
  await using agent = await ShuntAgent.start(before, { env: { PATH: programs.folder } });
  const [fateBefore, rulesBefore] = [await fate(), await rules()];
  expect(fateBefore).toBe("direct");
  expect(rulesBefore).toContain("REDIRECT");

  programs.uninstall(RESTORE);
  await agent.reconfigure(after);
  const { agent: told, workloads } = await agent.ask<StatusReport>("status");
  expect(told.ready).toBe(false);
  expect(workloads).toMatchObject([{ name: "client", mode: "mixed", problem: expect.stringContaining("iptables") }]);
  expect(await fate()).toBe("direct");
  expect(await rules()).toBe(rulesBefore);

  programs.install(RESTORE);
  expect(await agent.hangUp()).toMatchObject({ msg: "configuration applied" });
  expect(await fate()).toBe("proxied");
  expect(await rules()).toContain("7070");
  await agent.stop();
  expect(await rules()).not.toContain("SHUNT");
});

it("what the kernel keeps of one half keeps nothing of the other", async () => {
  using bpffs = Bpffs.open();
  await using agent = await ShuntAgent.start(file({}, {}));
  const pins = join(bpffs.path, "shunt", agent.name);
  expect(await fate()).toBe("proxied");
  expect(await rules()).toContain("REDIRECT");
  const frozen = await runCommand(["python3", FREEZE_MAP, join(pins, "maps/netns_slots")]);
  expect(frozen).toMatchObject({ status: 0, stderr: "" });
  await expect(agent.stop()).rejects.toThrow(/ended with 1: .*EPERM/s);
  expect(await rules()).not.toContain("SHUNT");
  expect(existsSync(pins)).toBe(false);
  expect(await fate()).toBe("direct");
});
