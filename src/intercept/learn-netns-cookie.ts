// SPDX-License-Identifier: Apache-2.0
import { randomInt } from "node:crypto";
import { closeSync, openSync } from "node:fs";
import { join } from "node:path";
import { attachBriefly } from "../bpf/attach-briefly.ts";
import { AttachType } from "../bpf/attach-type.ts";
import { BpfObject } from "../bpf/bpf-object.ts";
import { loadAddon } from "../native/load-addon.ts";
import { check } from "../native/status.ts";
import { findCgroup2 } from "../util/mountinfo.ts";
import { ShuntError } from "../util/shunt-error.ts";
import { BPF_OBJECTS } from "./bpf-objects.ts";

/**
 * The cookie of a network namespace from a connect hook (≥ 5.7), for kernels without SO_NETNS_COOKIE: a UDP socket made
 * in the namespace connects to an address that nobody else can guess, which sends nothing, and the hook at the root of
 * the cgroup tree tells where that was. Throws ERR_NETNS_COOKIE when the hook was not reached, or what the kernel refused.
 */
export function learnNetnsCookie(netnsFd: number): bigint {
  const mount = findCgroup2();
  if (mount === undefined) throw new ShuntError("ERR_NETNS_COOKIE", "no cgroup2 file system is mounted");
  const addon = loadAddon();
  using object = BpfObject.open(join(BPF_OBJECTS, "learn.bpf.o"));
  object.load();
  const socket = check(addon.listen({ address: "0.0.0.0", port: 0, type: "dgram", netns: netnsFd }), "socket");
  const cgroup = openSync(mount.mountPoint, "r");
  try {
    const address = `127.${randomInt(256)}.${randomInt(256)}.${randomInt(256)}`;
    // Above 53, which a resolver's port would be: a workload's own program is not to care.
    const port = randomInt(1024, 65536);
    const question = { socket: check(addon.socketCookie(socket), "getsockopt(SO_COOKIE)"), netns: 0n, address, port };
    object.map("netns_asked").set(0, question);
    using _attached = attachBriefly(
      object.program("learn_netns"),
      cgroup,
      AttachType.CgroupInet4Connect,
      "learn_netns",
    );
    // Refused where lo is down; the hook comes before that.
    const connecting = addon.connectSocket(socket, address, port, () => {});
    if (typeof connecting !== "number") connecting.cancel();
    const netns = object.map("netns_asked").get(0)?.netns ?? 0n;
    if (netns !== 0n) return netns;
    const message = `connect4 at ${mount.mountPoint} did not meet a connection of this process`;
    throw new ShuntError("ERR_NETNS_COOKIE", message);
  } finally {
    closeSync(cgroup);
    addon.closeFd(socket);
  }
}
