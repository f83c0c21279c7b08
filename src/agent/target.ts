// SPDX-License-Identifier: Apache-2.0
import { existsSync, realpathSync, statSync } from "node:fs";
import { isAbsolute, join } from "node:path";
import { formatTarget, type TargetConfig, type WorkloadConfig } from "../config/model.ts";
import { NetworkNamespace, OWN_NETNS } from "../intercept/network-namespace.ts";
import type { Target } from "../intercept/spec.ts";
import { findCgroup2 } from "../util/mountinfo.ts";
import { ShuntError } from "../util/shunt-error.ts";

export interface ResolvedTarget {
  readonly target: Target;
  readonly netns: NetworkNamespace;
  /** The same for two names of one target, in this process and in others: `netns:<inode>` or `cgroup:<path>`. */
  readonly key: string;
  /** Another one when what the names lead to was made anew. */
  readonly identity: string;
}

/** What the names of a target lead to now; undefined when one of them leads nowhere. */
export function identityNow(target: Target): string | undefined {
  const paths = target.kind === "netns" ? [target.path] : [target.path, target.netnsPath];
  const inodes = paths.map((path) => statSync(path, { bigint: true, throwIfNoEntry: false })?.ino);
  return inodes.includes(undefined) ? undefined : `${target.kind}:${inodes.join("@")}`;
}

/** Opens what the user named. Throws a ShuntError that names the field and the value. */
export function resolveTarget(config: TargetConfig): ResolvedTarget {
  switch (config.kind) {
    case "netns":
      return byNamespace(config.path);
    case "pid": {
      const path = `/proc/${config.pid}/ns/net`;
      if (!existsSync(path)) throw new ShuntError("ERR_TARGET_PID", `pid: ${config.pid}: there is no such process`);
      return byNamespace(path);
    }
    case "cgroup": {
      const netnsPath = config.netns ?? OWN_NETNS;
      const path = cgroupDirectory(config.path);
      return complete({ kind: "cgroup", path, netnsPath }, `cgroup:${path}`, new NetworkNamespace(netnsPath));
    }
    default:
      return config satisfies never;
  }
}

/** What has become of a target since it was opened, in words; undefined while its name still leads to it. */
export function problemOf({ target, identity }: ResolvedTarget, config: TargetConfig): string | undefined {
  const now = identityNow(target);
  if (now === identity) return undefined;
  const name = formatTarget(config);
  return now === undefined
    ? `the target ${name} is gone`
    : `the target ${name} was made anew; what it is now is not intercepted before the configuration is applied again`;
}

/** The same target by another name: what was opened stays open. Throws ERR_TARGET_CHANGED when it is not the same. */
export function retarget(known: ResolvedTarget, config: TargetConfig): ResolvedTarget {
  const resolved = resolveTarget(config);
  resolved.netns[Symbol.dispose]();
  if (resolved.identity !== known.identity) {
    throw new ShuntError(
      "ERR_TARGET_CHANGED",
      `${formatTarget(config)} is ${resolved.key}, not ${known.key} as before`,
    );
  }
  return { ...resolved, netns: known.netns };
}

/**
 * What the targets of several workloads lead to, by the workloads' names. Failed is one whose target is not there, or is
 * that of a workload before it; those of `first` come before the others.
 */
export function resolveAll(
  workloads: readonly Pick<WorkloadConfig, "name" | "target">[],
  first: ReadonlySet<string> = new Set(),
): { readonly failures: Map<string, Error>; readonly identities: Map<string, string>; readonly keys: string[] } {
  const failures = new Map<string, Error>();
  const identities = new Map<string, string>();
  const owners = new Map<string, string>();
  for (const { name, target } of workloads.toSorted((a, b) => Number(first.has(b.name)) - Number(first.has(a.name)))) {
    try {
      const resolved = resolveTarget(target);
      resolved.netns[Symbol.dispose]();
      const owner = owners.get(resolved.key);
      if (owner !== undefined) {
        const message = `workloads "${owner}" and "${name}" have the same target: ${formatTarget(target)} is ${resolved.key}`;
        throw new ShuntError("ERR_TARGET_SHARED", message);
      }
      owners.set(resolved.key, name);
      identities.set(name, resolved.identity);
    } catch (error) {
      failures.set(name, error as Error);
    }
  }
  return { failures, identities, keys: [...owners.keys()] };
}

function byNamespace(path: string): ResolvedTarget {
  const netns = new NetworkNamespace(path);
  // The agent's own namespace holds everything on the machine that has none of its own.
  if (netns.inode === statSync(OWN_NETNS, { bigint: true }).ino) {
    netns[Symbol.dispose]();
    throw new ShuntError(
      "ERR_TARGET_OWN_NETNS",
      `netns: ${path} is the agent's own network namespace: enrol a cgroup instead`,
    );
  }
  return complete({ kind: "netns", path }, `netns:${netns.inode}`, netns);
}

function complete(target: Target, key: string, netns: NetworkNamespace): ResolvedTarget {
  return { target, netns, key, identity: identityNow(target) ?? key };
}

/** The directory of a cgroup, given in full or from the root of the cgroup2 mount. */
export function cgroupDirectory(cgroup: string): string {
  const mount = findCgroup2();
  if (!mount) throw new ShuntError("ERR_CGROUP_MISSING", `cgroup: ${cgroup}: no cgroup2 file system is mounted`);
  const path = isAbsolute(cgroup) && cgroup.startsWith(mount.mountPoint) ? cgroup : join(mount.mountPoint, cgroup);
  if (!existsSync(join(path, "cgroup.procs"))) {
    throw new ShuntError("ERR_TARGET_CGROUP", `cgroup: ${cgroup}: there is no such cgroup below ${mount.mountPoint}`);
  }
  return realpathSync(path);
}
