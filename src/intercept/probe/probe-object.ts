// SPDX-License-Identifier: Apache-2.0
import { constants } from "node:os";
import { BpfObject } from "../../bpf/bpf-object.ts";
import type { NativeProgram } from "../../native/addon.ts";
import { check } from "../../native/status.ts";

/** BPF_F_ALLOW_MULTI, <linux/bpf.h>: beside what others have attached. */
const ALLOW_MULTI = 2;

/**
 * One program of bpf/probe.bpf.c, loaded alone: with the maps it uses and no other, so that a refusal is about
 * this program.
 */
export class ProbeObject implements Disposable {
  readonly object: BpfObject;
  readonly program: NativeProgram;

  /** Throws what the kernel says against it. */
  constructor(bytes: Uint8Array, program: string, maps: readonly string[] = []) {
    this.object = BpfObject.open(bytes, program);
    try {
      const unused = this.object.maps().filter(({ name }) => !maps.includes(name));
      this.object.selectPrograms([program]).omitMaps(unused.map(({ name }) => name));
      this.object.load();
      this.program = this.object.program(program);
    } catch (error) {
      this.object.close();
      throw error;
    }
  }

  /** By link, or the old way where the kernel has no links; what is returned takes it away again. */
  attach(targetFd: number, attachType: number): Disposable {
    const link = this.program.link(targetFd, attachType);
    if (typeof link !== "number") return { [Symbol.dispose]: () => link.close() };
    // Before 5.7 the command does not exist, and EINVAL is the answer of bpf(2) to those.
    if (link !== -constants.errno.EINVAL) check(link, "bpf_link_create", this.object.name);
    check(this.program.attach(targetFd, attachType, ALLOW_MULTI), "bpf_prog_attach", this.object.name);
    return { [Symbol.dispose]: () => void this.program.detach(targetFd, attachType) };
  }

  [Symbol.dispose](): void {
    this.object.close();
  }
}
