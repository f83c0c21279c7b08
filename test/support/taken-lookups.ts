// SPDX-License-Identifier: Apache-2.0
import { join } from "node:path";
import { BpfObject } from "../../src/bpf/bpf-object.ts";
import { BPF_OBJECTS } from "../../src/intercept/bpf-objects.ts";
import { SK_LOOKUP } from "../../src/intercept/ebpf/hooks.ts";
import { NetworkNamespace } from "../../src/intercept/network-namespace.ts";
import type { NativeLink } from "../../src/native/addon.ts";
import { check } from "../../src/native/status.ts";

/** How many a namespace takes (kernel/bpf/net_namespace.c). */
const MAX_SK_LOOKUP_PROGRAMS = 64;

/** A namespace that has as many sk_lookup programs as it takes, so that eBPF cannot have its inbound direction. */
export class TakenLookups implements Disposable {
  readonly #links: readonly NativeLink[];

  constructor(netnsPath: string) {
    using netns = new NetworkNamespace(netnsPath);
    using object = BpfObject.open(join(BPF_OBJECTS, "inbound.bpf.o"));
    object.load();
    const program = object.program("inbound");
    this.#links = Array.from({ length: MAX_SK_LOOKUP_PROGRAMS }, () =>
      check(program.link(netns.fd, SK_LOOKUP), "bpf_link_create"),
    );
  }

  [Symbol.dispose](): void {
    for (const link of this.#links) link.close();
  }
}
