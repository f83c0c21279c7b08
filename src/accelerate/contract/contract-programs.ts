// SPDX-License-Identifier: Apache-2.0
import { AttachType } from "../../bpf/attach-type.ts";
import { BpfObject } from "../../bpf/bpf-object.ts";
import type { NativeLink, NativeProgram } from "../../native/addon.ts";
import { check } from "../../native/status.ts";

/** The programs of bpf/contract.bpf.c in force for one scratch cgroup, as long as this object is not disposed. */
export class ContractPrograms implements Disposable {
  /** Ids of the maps, for shunt-contract. */
  readonly sockets: number;
  readonly counts: number;
  readonly #object: BpfObject;
  readonly #link: NativeLink;
  #gone = false;

  /**
   * `streamVerdict`: with a program that lets pass what TCP brings. Throws a VerifierError or a SystemError
   * where the kernel has not what acceleration is made of.
   */
  constructor(bytes: Uint8Array, cgroupFd: number, streamVerdict: boolean) {
    this.#object = BpfObject.open(bytes, "contract");
    try {
      this.#object.selectPrograms(["contract_enrol", "contract_steer", ...(streamVerdict ? ["contract_verdict"] : [])]);
      this.#object.load();
      const map = this.#object.nativeMap("contract_socks");
      // Before any socket is in the map: those that are keep what the map had when they came.
      attach(this.#object.program("contract_steer"), map.fd, AttachType.SkMsgVerdict);
      if (streamVerdict) attach(this.#object.program("contract_verdict"), map.fd, AttachType.SkSkbStreamVerdict);
      this.sockets = check(map.info(), "bpf_map_get_info").id;
      this.counts = check(this.#object.nativeMap("contract_counts").info(), "bpf_map_get_info").id;
      const enrol = this.#object.program("contract_enrol");
      this.#link = check(enrol.link(cgroupFd, AttachType.CgroupSockOps), "bpf_link_create", "contract_enrol");
    } catch (error) {
      this.#object.close();
      throw error;
    }
  }

  /** As when the process that holds them ends. May be called again. */
  [Symbol.dispose](): void {
    if (this.#gone) return;
    this.#gone = true;
    this.#link.close();
    this.#object.close();
  }
}

function attach(program: NativeProgram, mapFd: number, type: number): void {
  check(program.attach(mapFd, type, 0), "bpf_prog_attach", `attach type ${type}`);
}
