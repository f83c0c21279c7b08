// SPDX-License-Identifier: Apache-2.0
import { constants } from "node:os";
import type { NativeProgram } from "../native/addon.ts";
import { check } from "../native/status.ts";

/** BPF_F_ALLOW_MULTI, <linux/bpf.h>: beside what others have attached. */
const ALLOW_MULTI = 2;

/**
 * Attaches by link, or the old way where the kernel has no links; what is returned takes it away again. `name` is for
 * messages. Throws a SystemError.
 */
export function attachBriefly(program: NativeProgram, targetFd: number, attachType: number, name: string): Disposable {
  const link = program.link(targetFd, attachType);
  if (typeof link !== "number") return { [Symbol.dispose]: () => link.close() };
  // Before 5.7 the command does not exist, and EINVAL is the answer of bpf(2) to those.
  if (link !== -constants.errno.EINVAL) check(link, "bpf_link_create", name);
  check(program.attach(targetFd, attachType, ALLOW_MULTI), "bpf_prog_attach", name);
  return { [Symbol.dispose]: () => void program.detach(targetFd, attachType) };
}
