// SPDX-License-Identifier: Apache-2.0
import { attachBriefly } from "../../bpf/attach-briefly.ts";
import { BpfObject } from "../../bpf/bpf-object.ts";
import type { NativeProgram } from "../../native/addon.ts";

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

  /** What is returned takes it away again. */
  attach(targetFd: number, attachType: number): Disposable {
    return attachBriefly(this.program, targetFd, attachType, this.object.name);
  }

  [Symbol.dispose](): void {
    this.object.close();
  }
}
