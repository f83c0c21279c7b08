// SPDX-License-Identifier: Apache-2.0
import { existsSync } from "node:fs";
import { join } from "node:path";
import { Bpffs } from "../../bpf/bpffs.ts";
import { findCgroup2 } from "../../util/mountinfo.ts";
import { ShuntError } from "../../util/shunt-error.ts";
import type { InboundListener } from "../backend.ts";
import { BPF_OBJECTS } from "../bpf-objects.ts";
import type { NetworkNamespace } from "../network-namespace.ts";
import type { OriginalDestinationSource } from "../original-destination.ts";
import type { OwnFlowsSource } from "../own-flows.ts";
import type { InterceptSpec } from "../spec.ts";
import { EbpfInstance } from "./instance.ts";
import { PinDirectory } from "./pins.ts";
import { SlotTable } from "./slot-table.ts";
import { originalsOf, ownFlowsOf, WorkloadScope } from "./workload-scope.ts";

export interface EbpfOptions {
  /** Names the pins: unique among the Shunts of the machine. */
  readonly name: string;
  /** Directory to attach at for workloads that are known by namespace; the root of the cgroup2 mount when absent. */
  readonly cgroupRoot?: string;
  /** See InstanceOptions. */
  readonly withoutLinks?: boolean;
  /** See InstanceOptions. */
  readonly standIns?: boolean;
  /** Called before programs and maps go that nobody uses any more. */
  readonly onUnload?: () => void;
}

interface Loaded {
  readonly bpffs: Bpffs;
  readonly instance: EbpfInstance;
  readonly slots: SlotTable;
}

/** Everything of one Shunt that lives in the kernel: its instance of the programs, and who is enrolled with it. */
export class EbpfBackend implements Disposable {
  readonly #options: EbpfOptions;
  #loaded: Loaded | undefined;
  #leases = 0;

  /** Nothing is loaded before the first workload is enrolled. */
  constructor(options: EbpfOptions) {
    this.#options = options;
  }

  /** Enrols a workload. Throws what the kernel refused; nothing is left behind then. */
  async apply(
    spec: InterceptSpec,
    netns: NetworkNamespace,
    listeners: readonly InboundListener[],
  ): Promise<WorkloadScope> {
    const { instance, slots } = this.#load();
    return WorkloadScope.enrol(instance, slots, netns, spec, listeners);
  }

  /** Where redirected connections of the namespace are remembered, before any workload in it is enrolled; undefined without eBPF. */
  originals(netns: NetworkNamespace): OriginalDestinationSource | undefined {
    try {
      return originalsOf(this.#load().instance, netns.cookie());
    } catch {
      // Then nothing is redirected by it either.
      return undefined;
    }
  }

  /** Where connections with a client's address are to be noted, before a workload of the namespace is enrolled. */
  ownFlows(netns: NetworkNamespace): OwnFlowsSource | undefined {
    try {
      return ownFlowsOf(this.#load().instance, netns.cookie());
    } catch {
      return undefined;
    }
  }

  /** As long as this is not disposed of, nothing is unloaded. */
  lease(): Disposable {
    this.#leases++;
    return {
      [Symbol.dispose]: () => {
        this.#leases--;
      },
    };
  }

  /** Unloads and unpins when no workload is enrolled. Throws a SystemError when the kernel refuses that. */
  unloadUnused(): void {
    if (this.#leases > 0 || !this.#loaded || !this.#loaded.slots.isEmpty) return;
    this.#options.onUnload?.();
    this.remove();
  }

  get adopted(): boolean {
    return this.#loaded?.instance.adopted ?? false;
  }

  get instance(): EbpfInstance | undefined {
    return this.#loaded?.instance;
  }

  /** Ends what an earlier process enrolled beyond `keep` slots; everything of it when nothing of ours is loaded. */
  releaseOthers(keep: ReadonlySet<number>): void {
    if (!this.#loaded) {
      using bpffs = Bpffs.find();
      if (bpffs) new PinDirectory(bpffs.path, this.#options.name).remove();
      return;
    }
    const { slots } = this.#loaded;
    for (const [key, slot] of [...slots.bindings()]) if (!keep.has(slot)) slots.evict(key, slot);
    this.#loaded.instance.localAddresses.removeOthers();
  }

  /** Ends interception of everything and unpins. */
  remove(): void {
    this.#loaded?.instance.remove();
    this.#loaded?.bpffs[Symbol.dispose]();
    this.#loaded = undefined;
  }

  [Symbol.dispose](): void {
    this.#loaded?.instance[Symbol.dispose]();
    this.#loaded?.bpffs[Symbol.dispose]();
    this.#loaded = undefined;
  }

  #load(): Loaded {
    if (this.#loaded) return this.#loaded;
    const { name } = this.#options;
    const cgroupRoot = this.#options.cgroupRoot ?? findCgroup2()?.mountPoint;
    if (cgroupRoot === undefined) throw new ShuntError("ERR_CGROUP_MISSING", "no cgroup2 file system is mounted");
    if (!existsSync(join(BPF_OBJECTS, "connect.bpf.o"))) {
      throw new ShuntError("ERR_BPF_NOT_BUILT", `${BPF_OBJECTS} holds no BPF objects: run npm run build`);
    }
    const bpffs = Bpffs.open();
    try {
      const { withoutLinks = false, standIns = false } = this.#options;
      const where = { bpffs: bpffs.path, cgroupRoot, objects: BPF_OBJECTS };
      const instance = new EbpfInstance({ name, ...where, withoutLinks, standIns });
      this.#loaded = { bpffs, instance, slots: new SlotTable(instance) };
      return this.#loaded;
    } catch (error) {
      bpffs[Symbol.dispose]();
      throw error;
    }
  }
}
