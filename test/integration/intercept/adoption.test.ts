// SPDX-License-Identifier: Apache-2.0
import { closeSync, mkdirSync, openSync, rmdirSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { AttachType } from "../../../src/bpf/attach-type.ts";
import { EbpfBackend } from "../../../src/intercept/ebpf/backend.ts";
import { NetworkNamespace } from "../../../src/intercept/network-namespace.ts";
import type { InterceptSpec, Target } from "../../../src/intercept/spec.ts";
import { loadAddon } from "../../../src/native/load-addon.ts";
import { check } from "../../../src/native/status.ts";
import { findCgroup2 } from "../../../src/util/mountinfo.ts";
import { NetLab } from "../../support/net-lab.ts";
import { runCommand } from "../../support/shunt.ts";

/** What a process that was killed at a bad moment has left must not stand in its successor's way. */

const NAME = `shunt-test-${process.pid}-adopt`;
let lab: NetLab;
let backend: EbpfBackend;

beforeEach(() => {
  lab = new NetLab("adopt");
  backend = new EbpfBackend({ name: NAME });
});

afterEach(() => {
  backend.remove();
  lab[Symbol.dispose]();
});

/** As if the process had been killed: the handles close, the pins stay. */
function restart(): EbpfBackend {
  backend[Symbol.dispose]();
  backend = new EbpfBackend({ name: NAME });
  return backend;
}

function specFor(target: Target): InterceptSpec {
  return {
    name: "adopted",
    target,
    inbound: { port: 15006, includePorts: "all", excludePorts: [22], includeCidrs: "all", excludeCidrs: [] },
    proxy: { mark: { value: 0x539, mask: 0xfff }, uids: [], gids: [], external: false },
    interfaces: { exclude: [], reroute: [] },
    dropInvalid: false,
    failMode: "deny",
    trace: false,
  };
}

it("an enrolment that was cut off in the middle gives its slot to another namespace, sk_lookup included", async () => {
  using first = new NetworkNamespace(lab.client.path);
  using second = new NetworkNamespace(lab.server.path);
  await backend.apply(specFor({ kind: "netns", path: first.path }), first, []);
  // Killed between pinning the sk_lookup link and naming the slot.
  backend.instance?.map("netns_slots").delete(first.cookie());
  restart();
  const fd = check(
    loadAddon().listen({ address: "127.0.0.1", port: 15006, type: "stream", netns: second.fd }),
    "listen",
  );
  const scope = await backend.apply(specFor({ kind: "netns", path: second.path }), second, [
    { family: 4, index: 0, fd },
  ]);
  try {
    const { stdout } = await runCommand(
      [
        "python3",
        "-c",
        `import socket; print(socket.create_connection(("${lab.server.v4}", 8080), 10).getpeername()[0])`,
      ],
      { netns: lab.client.path },
    );
    expect(stdout.trim()).toBe(lab.server.v4);
    expect(scope.counters().inbound).toEqual({ "all-included": 1 });
    // One policy is in force; that of the unfinished enrolment has gone.
    const policies = new Set([...(backend.instance?.map("ports").entries() ?? [])].map(([key]) => key.policy));
    expect(policies.size).toBe(1);
  } finally {
    loadAddon().closeFd(fd);
  }
});

it("a cgroup that has gone meanwhile takes nobody else's adoption away", async () => {
  const path = join(findCgroup2()?.mountPoint ?? "", `${NAME}-gone`);
  using netns = new NetworkNamespace(lab.client.path);
  mkdirSync(path);
  await backend.apply(specFor({ kind: "netns", path: netns.path }), netns, []);
  const { inbound: _inbound, ...outboundOnly } = specFor({ kind: "cgroup", path, netnsPath: netns.path });
  await backend.apply(outboundOnly, netns, []);
  backend[Symbol.dispose]();
  rmdirSync(path);
  backend = new EbpfBackend({ name: NAME });
  const scope = await backend.apply(specFor({ kind: "netns", path: netns.path }), netns, []);
  expect(backend.adopted).toBe(true);
  backend.releaseOthers(new Set([scope.slot]));
  expect([...(backend.instance?.map("cgroup_slots").entries() ?? [])]).toEqual([]);
});

it("without bpf_link, programs are attached beside others, adopted, and taken away again", async () => {
  const root = openSync(findCgroup2()?.mountPoint ?? "", "r");
  const attached = (): number =>
    check(loadAddon().queryPrograms(root, AttachType.CgroupInet4Connect, 0), "bpf_prog_query").ids.length;
  const before = attached();
  using netns = new NetworkNamespace(lab.client.path);
  const { inbound: _inbound, ...rest } = specFor({ kind: "netns", path: netns.path });
  const spec: InterceptSpec = {
    ...rest,
    outbound: {
      port: 15001,
      includePorts: [],
      excludePorts: [],
      includeCidrs: "all",
      excludeCidrs: [],
      captureLoopback: false,
      captureLocal: false,
      dns: { kind: "off" },
      ownerGroups: { kind: "all-except", groups: [] },
    },
  };
  const connect = () =>
    runCommand(["python3", "-c", 'import socket; socket.create_connection(("192.0.2.1", 80), 10)'], {
      netns: netns.path,
    });
  try {
    backend = new EbpfBackend({ name: NAME, withoutLinks: true });
    await backend.apply(spec, netns, []);
    expect(attached()).toBe(before + 1);
    // Nobody listens: the fail mode answers, which shows that the program runs.
    expect((await connect()).stderr).toContain("Operation not permitted");
    backend[Symbol.dispose]();
    expect((await connect()).stderr).toContain("Operation not permitted");
    backend = new EbpfBackend({ name: NAME, withoutLinks: true });
    const scope = await backend.apply(spec, netns, []);
    expect(attached()).toBe(before + 1);
    expect((await connect()).stderr).toContain("Operation not permitted");
    expect(scope.counters().outbound).toEqual({ "listener-gone-deny": 3 });
    backend.remove();
    expect(attached()).toBe(before);
    expect((await connect()).stderr).not.toContain("Operation not permitted");
  } finally {
    closeSync(root);
  }
});
