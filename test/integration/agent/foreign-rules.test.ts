// SPDX-License-Identifier: Apache-2.0
/** An agent in a pod that Istio's init container has prepared: it says so, and leaves those rules alone until asked. */
import { expect, it } from "vitest";
import { findCommand } from "../../../scripts/setup/machine.mjs";
import type { StatusReport } from "../../../src/config/formats/status.ts";
import { inNetns } from "../../support/iptables-save.ts";
import { LabProcesses, tellServer } from "../../support/lab-process.ts";
import { NetLab } from "../../support/net-lab.ts";
import { runCommand, ShuntAgent, shunt } from "../../support/shunt.ts";

const missing = ["iptables-restore"].find((program) => findCommand(program) === undefined);
const why = missing === undefined ? "" : ` (skipped without the program ${missing})`;

it.skipIf(missing !== undefined)(`rules of another interceptor are told, and removed when asked${why}`, async () => {
  using lab = new NetLab("foreign");
  const { client: pod, server: world } = lab;
  await using processes = new LabProcesses();
  await processes.start(tellServer("python", pod.v4, [8080]), pod.path);
  const istio = await shunt(["istio-iptables", "-b", "*", "-i", "*", "--network-namespace", pod.path]);
  expect(istio).toMatchObject({ status: 0 });
  const istioRules = (): boolean => inNetns(pod.path, "iptables-save").includes("ISTIO_");
  expect(istioRules()).toBe(true);

  await using agent = await ShuntAgent.start({ mode: "ebpf", workloads: [{ name: "pod", netns: pod.path }] });
  const warning = await agent.waitForLog(({ msg }) => msg.startsWith("another interceptor has rules"));
  expect(warning).toMatchObject({ level: "warn", workload: "pod" });
  const status = await agent.ask<StatusReport>("status");
  expect(status.workloads[0]?.foreignRules?.join("\n")).toContain("ISTIO_OUTPUT");
  expect(istioRules()).toBe(true);
  // Their redirection comes before the socket is looked up.
  const get = (): Promise<{ readonly status: number | null }> =>
    runCommand(["curl", "-sS", "-m", "10", "-o", "/dev/null", `http://${pod.v4}:8080/`], { netns: world.path });
  expect(await get()).toMatchObject({ status: 7 });

  const asked = await shunt(["rules", "verify", "--config", agent.configFile, "--remove-leftovers"]);
  expect(asked.stderr).toContain("has the workload by eBPF");
  expect(asked.stdout).toMatch(/removed.*ISTIO_/);
  expect(istioRules()).toBe(false);
  await agent.stop();
});
