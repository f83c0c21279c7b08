// SPDX-License-Identifier: Apache-2.0
/** Programs of others that connections of a cgroup meet: Cilium's, systemd's, another Shunt's. */
import { closeSync, openSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { AttachType } from "../../bpf/attach-type.ts";
import { loadAddon } from "../../native/load-addon.ts";
import { check, isStatusError } from "../../native/status.ts";
import { ShuntError } from "../../util/shunt-error.ts";

/** Hooks on which another's program and ours touch the same connection. */
const hooks: ReadonlyMap<string, number> = new Map([
  ["cgroup/connect4", AttachType.CgroupInet4Connect],
  ["cgroup/connect6", AttachType.CgroupInet6Connect],
  ["cgroup/sendmsg4", AttachType.CgroupUdp4Sendmsg],
  ["cgroup/sendmsg6", AttachType.CgroupUdp6Sendmsg],
  ["cgroup/recvmsg4", AttachType.CgroupUdp4Recvmsg],
  ["cgroup/recvmsg6", AttachType.CgroupUdp6Recvmsg],
  ["cgroup/getpeername4", AttachType.CgroupInet4Getpeername],
  ["cgroup/getpeername6", AttachType.CgroupInet6Getpeername],
  ["cgroup/getsockopt", AttachType.CgroupGetsockopt],
  ["sockops", AttachType.CgroupSockOps],
]);

/** BPF_F_QUERY_EFFECTIVE, <linux/bpf.h>: with the ancestors' programs, in the order they run. */
const QUERY_EFFECTIVE = 1;

export interface AttachedProgram {
  readonly hook: string;
  /** Directory of the cgroup it is attached to. */
  readonly cgroup: string;
  readonly id: number;
  /** At most 15 characters, as the kernel keeps no more. "" when the program has gone meanwhile. */
  readonly name: string;
  /** Place among all programs of this hook that the cgroup's processes meet; 0 runs first. */
  readonly order: number;
  /** Attached exclusively (flags 0): nothing can be attached below. */
  readonly exclusive: boolean;
}

/**
 * Programs on the way from `cgroup` up to `root`, usually the top of the cgroup2 mount, hook by hook in the order they
 * run: those of inner cgroups first. Those of the caller are left out by `isOwn`. Hooks the kernel lacks have none.
 */
export function attachedPrograms(
  cgroup: string,
  root: string,
  isOwn: (id: number) => boolean = () => false,
): AttachedProgram[] {
  const levels = pathUp(resolve(cgroup), resolve(root)).map((path) => ({ path, fd: openSync(path, "r") }));
  try {
    return [...hooks]
      .flatMap(([hook, attachType]) => programsOf(hook, attachType, levels))
      .filter(({ id }) => !isOwn(id));
  } finally {
    for (const { fd } of levels) closeSync(fd);
  }
}

interface Level {
  readonly path: string;
  readonly fd: number;
}

function programsOf(hook: string, attachType: number, levels: readonly Level[]): AttachedProgram[] {
  const innermost = levels[0];
  const effective = innermost && query(innermost.fd, attachType, QUERY_EFFECTIVE);
  if (effective === undefined) return [];
  // A program can be attached at several levels; each takes one of its places.
  const places: (number | undefined)[] = [...effective.ids];
  const found: AttachedProgram[] = [];
  for (const { path, fd } of levels) {
    const here = query(fd, attachType, 0);
    for (const id of here?.ids ?? []) {
      const order = places.indexOf(id);
      // Not effective: an inner program was attached to take its place.
      if (order < 0) continue;
      places[order] = undefined;
      found.push({ hook, cgroup: path, id, name: nameOf(id), order, exclusive: here?.attachFlags === 0 });
    }
  }
  return found.sort((a, b) => a.order - b.order);
}

/** `cgroup` first, `root` last. */
function pathUp(cgroup: string, root: string): string[] {
  if (cgroup !== root && !cgroup.startsWith(`${root}/`)) {
    throw new ShuntError("ERR_PROBE_CGROUP", `${cgroup} is not below ${root}`);
  }
  const paths = [cgroup];
  for (let path = cgroup; path !== root; path = dirname(path)) paths.push(dirname(path));
  return paths;
}

function query(
  fd: number,
  attachType: number,
  flags: number,
): { readonly ids: number[]; readonly attachFlags: number } | undefined {
  const found = loadAddon().queryPrograms(fd, attachType, flags);
  return isStatusError(found) ? undefined : check(found, "bpf(BPF_PROG_QUERY)");
}

function nameOf(id: number): string {
  const program = loadAddon().programById(id);
  if (typeof program === "number") return "";
  const info = program.info();
  program.close();
  return typeof info === "number" ? "" : info.name;
}
