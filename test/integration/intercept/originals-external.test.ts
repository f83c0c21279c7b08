// SPDX-License-Identifier: Apache-2.0
/** An external proxy asks for the original destination when it likes: its connections' ends make room in the map. */
import { join } from "node:path";
import { expect, it } from "vitest";
import { Bpffs } from "../../../src/bpf/bpffs.ts";
import type { TypedMap } from "../../../src/bpf/typed-map.ts";
import { PinDirectory } from "../../../src/intercept/ebpf/pins.ts";
import { mapFromFd } from "../../../src/intercept/map-from-fd.ts";
import { loadAddon } from "../../../src/native/load-addon.ts";
import { check } from "../../../src/native/status.ts";
import { EXTERNAL, PROXY_ID } from "../../support/external-proxy.ts";
import { eventually } from "../../support/inbox.ts";
import { ask, LabProcesses, sidecar, tellServer } from "../../support/lab-process.ts";
import { NetLab } from "../../support/net-lab.ts";
import { ShuntAgent } from "../../support/shunt.ts";
import { TestCgroup } from "../../support/test-cgroup.ts";

const PORT = 8080;

it.each(["netns", "cgroup"])("originals go with the connections of an external proxy: %s", async (kind) => {
  using lab = new NetLab("ended");
  const { path: netns } = lab.client;
  await using group = new TestCgroup();
  const cgroup = group.path;
  await using processes = new LabProcesses();
  const target = kind === "cgroup" ? { cgroup, netns } : { netns };
  const workload = { name: "app", ...target, proxy: EXTERNAL, inbound: { enabled: false } };
  await using agent = await ShuntAgent.start({ mode: "ebpf", workers: 1, workloads: [workload] });
  using originals = originalsOf(agent);
  await processes.start(tellServer("python", "::", [PORT]), lab.server.path);
  const proxy = await processes.start(sidecar({}, { uid: PROXY_ID, gid: PROXY_ID, cgroup }), netns);
  for (const address of [lab.server.v4, lab.server.v6]) {
    expect(await ask("python", netns, address, PORT, { cgroup })).toMatchObject({ peer: [address, PORT] });
    await proxy.line(new RegExp(`outbound ${address} ${PORT}`));
  }
  await eventually(() => [...originals.entries()].length === 0);
  await agent.stop();
});

function originalsOf(agent: ShuntAgent): TypedMap<"originals"> {
  using bpffs = Bpffs.find();
  const path = join(new PinDirectory(bpffs?.path ?? "", agent.name).maps, "originals");
  const native = check(loadAddon().openPinnedMap(path), "bpf_obj_get", path);
  try {
    return mapFromFd("originals", native.fd);
  } finally {
    native.close();
  }
}
