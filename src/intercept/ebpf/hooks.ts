// SPDX-License-Identifier: Apache-2.0
/** Which program stands at which hook, and in which object: bpf/<object>.bpf.c. */

/** `root`: workloads are known by network namespace; `cgroup`: by their own cgroup. */
export type Position = "root" | "cgroup";

/** One for each family of hooks, so that a kernel without one of them can do without its object. */
export type HookObject = "connect" | "sockops" | "datagram" | "getsockopt" | "home";

/** Programs that kernels refuse (before 5.15, for their helpers), and those that are loaded in their place. */
export const STAND_INS: ReadonlyMap<string, string> = new Map([
  ["tie_original", "tie_original_old"],
  ["getsockopt", "getsockopt_old"],
]);

/** What a workload needs beside connect(). */
export interface Needs {
  readonly dns: boolean;
  readonly externalProxy: boolean;
  /** The stand-ins are loaded: they know an external proxy's end of a connection by where its listener is bound. */
  readonly homes?: boolean;
}

export interface Hook {
  readonly object: HookObject;
  readonly program: string;
  /** enum bpf_attach_type, <linux/bpf.h>. */
  readonly attachType: number;
}

const attachTypes = {
  sockOps: 3,
  inet4Bind: 8,
  inet6Bind: 9,
  inet4Connect: 10,
  inet6Connect: 11,
  udp4Sendmsg: 14,
  udp6Sendmsg: 15,
  udp4Recvmsg: 19,
  udp6Recvmsg: 20,
  getsockopt: 21,
  inet4Getpeername: 29,
  inet6Getpeername: 30,
} as const;

/** enum bpf_attach_type BPF_SK_LOOKUP. */
export const SK_LOOKUP = 36;

/**
 * Hooks cost every process below them something, so those for DNS and for proxies that are not ours come only when
 * a workload needs them.
 */
export function hooksFor(position: Position, needs: Needs): Hook[] {
  const scope = position === "root" ? "netns" : "cgroup";
  const hooks: Hook[] = [];
  if (needs.externalProxy && needs.homes) {
    hooks.push(
      { object: "home", program: "note_home4", attachType: attachTypes.inet4Bind },
      { object: "home", program: "note_home6", attachType: attachTypes.inet6Bind },
    );
  }
  hooks.push(
    { object: "sockops", program: "tie_original", attachType: attachTypes.sockOps },
    { object: "connect", program: "getpeername4", attachType: attachTypes.inet4Getpeername },
    { object: "connect", program: "getpeername6", attachType: attachTypes.inet6Getpeername },
  );
  if (needs.dns) {
    hooks.push(
      { object: "datagram", program: "recvmsg4", attachType: attachTypes.udp4Recvmsg },
      { object: "datagram", program: "recvmsg6", attachType: attachTypes.udp6Recvmsg },
      { object: "datagram", program: `sendmsg4_${scope}`, attachType: attachTypes.udp4Sendmsg },
      { object: "datagram", program: `sendmsg6_${scope}`, attachType: attachTypes.udp6Sendmsg },
    );
  }
  if (needs.externalProxy)
    hooks.push({ object: "getsockopt", program: "getsockopt", attachType: attachTypes.getsockopt });
  // Last: once connections are redirected, everything that knows where they were going must be in place.
  hooks.push(
    { object: "connect", program: `connect4_${scope}`, attachType: attachTypes.inet4Connect },
    { object: "connect", program: `connect6_${scope}`, attachType: attachTypes.inet6Connect },
  );
  return hooks;
}

/** The hook of a program by its name; undefined for one that this version does not have. */
export function hookOf(program: string): Hook | undefined {
  const everything = (["root", "cgroup"] as const).flatMap((position) =>
    hooksFor(position, { dns: true, externalProxy: true, homes: true }),
  );
  return everything.find((hook) => hook.program === program);
}
