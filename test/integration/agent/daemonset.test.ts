// SPDX-License-Identifier: Apache-2.0
/** What deploy/daemonset.yaml asks a container to run, asked of an agent that runs here. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { parseAllDocuments } from "yaml";
import { adminSocketPath } from "../../../src/config/admin-socket-path.ts";
import { NetLab } from "../../support/net-lab.ts";
import { runCommand, ShuntAgent, uniqueName } from "../../support/shunt.ts";

interface DaemonSet {
  readonly spec: { readonly template: { readonly spec: { readonly containers: readonly Container[] } } };
}
interface Container {
  readonly readinessProbe: { readonly exec: { readonly command: readonly string[] } };
}

const file = readFileSync(join(import.meta.dirname, "../../../deploy/daemonset.yaml"), "utf8");
const manifest = parseAllDocuments(file).map((document) => document.toJS() as { kind: string });
const set = manifest.find(({ kind }) => kind === "DaemonSet") as unknown as DaemonSet;
const [program, ...args] = set.spec.template.spec.containers[0]?.readinessProbe.exec.command ?? [];

/** The probe's command as it stands there, about the agent of this name instead of the default one. */
async function askedOf(name: string): Promise<number | null> {
  const about = args.map((word) => word.replaceAll(adminSocketPath("default"), adminSocketPath(name)));
  expect(about).not.toEqual(args);
  expect(program).toBe("node");
  return (await runCommand([process.execPath, ...about])).status;
}

it("the readiness probe says whether the agent is ready", async () => {
  using lab = new NetLab();
  const name = uniqueName("absent");
  expect(await askedOf(name)).toBe(1);
  const here = { name: "pod", netns: lab.client.path };
  await using agent = await ShuntAgent.start({ workloads: [here] });
  expect(await askedOf(agent.name)).toBe(0);
  // A workload that cannot be had is a problem of a reload, and the agent goes on with the others.
  await agent.reconfigure({ workloads: [here, { name: "gone", netns: `${lab.client.path}-gone` }] });
  expect(await askedOf(agent.name)).toBe(1);
  await agent.stop();
  expect(await askedOf(agent.name)).toBe(1);
});
