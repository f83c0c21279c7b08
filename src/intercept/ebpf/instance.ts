// SPDX-License-Identifier: Apache-2.0
import { randomBytes } from "node:crypto";
import { existsSync, statSync } from "node:fs";
import { join } from "node:path";
import { BpfObject } from "../../bpf/bpf-object.ts";
import type { Codec } from "../../bpf/codec.ts";
import type { Maps, Structs } from "../../bpf/generated/types.ts";
import { MapPool } from "../../bpf/map-pool.ts";
import type { TypedMap } from "../../bpf/typed-map.ts";
import type { NativeMap, NativeProgram } from "../../native/addon.ts";
import { loadAddon } from "../../native/load-addon.ts";
import { check } from "../../native/status.ts";
import type { Drift } from "../backend.ts";
import { Attachments } from "./attachments.ts";
import { type Hook, type HookObject, hooksFor, type Needs, type Position, STAND_INS } from "./hooks.ts";
import { LocalAddresses } from "./local-addresses.ts";
import { PinDirectory } from "./pins.ts";
import { drift } from "./scope-drift.ts";
import { socketsMayBeTagged } from "./socket-tags.ts";

/** Maps that the objects of an instance share. */
const SHARED = [
  "settings",
  "workloads",
  "netns_slots",
  "cgroup_slots",
  "ports",
  "cidrs",
  "owners",
  "interfaces",
  "local_addrs",
  "originals",
  "dgram_origs",
  "own_flows",
  "hops",
  "origins",
  "homes",
  "resolvers",
  "claims",
  "ext_listeners",
  "verdicts",
  "event_scratch",
  "events",
] as const;

export interface InstanceOptions {
  /** Names the pins; unique among the instances of this machine. */
  readonly name: string;
  readonly bpffs: string;
  /** Root of the cgroup2 tree whose processes can be enrolled by namespace. */
  readonly cgroupRoot: string;
  /** Directory of the built objects. */
  readonly objects: string;
  /** Attach as kernels before 5.7 must, which have no links. */
  readonly withoutLinks?: boolean;
  /** Take the programs for kernels that refuse the others; otherwise that is found out. */
  readonly standIns?: boolean;
}

/**
 * The loaded programs of one Shunt: pinned, so that they outlive the process, and adopted by the next one. What
 * they do to a workload is decided by the maps; see WorkloadScope.
 */
export class EbpfInstance implements Disposable {
  readonly options: InstanceOptions;
  readonly pins: PinDirectory;
  readonly pool = new MapPool();
  /** True when the pins of an earlier process were taken over. */
  readonly adopted: boolean;
  readonly localAddresses: LocalAddresses;
  readonly #objects = new Map<HookObject, BpfObject>();
  readonly #attachments: Attachments;
  #tagged = false;

  constructor(options: InstanceOptions) {
    this.options = options;
    this.pins = new PinDirectory(options.bpffs, options.name);
    this.adopted = this.pins.exists;
    this.#attachments = new Attachments(this.pins.links, options.cgroupRoot, options.withoutLinks);
    try {
      this.pins.exclusively(() => {
        this.pins.create();
        this.#adoptMaps();
        this.#object("connect");
        this.#pinMaps();
      });
      this.localAddresses = new LocalAddresses(this.map("local_addrs"));
      // Zero: the maps are new, or whoever made them did not come this far.
      if (this.map("settings").get(0)?.instance === 0n) {
        this.map("settings").set(0, { instance: randomBytes(8).readBigUInt64LE() });
      }
      this.#attachments.adopt((hook) => this.#program(hook));
    } catch (error) {
      this[Symbol.dispose]();
      // What an earlier process left is still in force; it is not ours to take down because we failed.
      if (!this.adopted) this.pins.remove();
      throw error;
    }
  }

  map<Name extends keyof Maps>(name: Name): TypedMap<Name> {
    return this.#object("connect").map(name);
  }

  nativeMap(name: string): NativeMap {
    return this.#object("connect").nativeMap(name);
  }

  eventCodec(): Codec<Structs["event"]> {
    return this.#object("connect").struct("event");
  }

  /** Attaches every hook of a position once; `cgroup` is the directory to attach at. */
  attach(position: Position, cgroup: string, options: Needs): void {
    for (const hook of this.#hooks(position, options)) this.#attachments.attach(hook, this.#program(hook), cgroup);
  }

  /** What is not attached as `attach` with the same arguments would have it, or not pinned. */
  verify(position: Position, cgroup: string, options: Needs): Drift[] {
    const hooks = this.#hooks(position, options).flatMap((hook) => {
      const problem = this.#attachments.problem(hook, this.#program(hook), cgroup);
      return problem === undefined
        ? []
        : [drift("hook", `${hook.program} at ${cgroup}`, "attached and pinned", problem)];
    });
    const pins = SHARED.filter((name) => !existsSync(this.#pinOf(name)));
    return [...hooks, ...pins.map((name) => drift("pin", this.#pinOf(name), name, undefined))];
  }

  repair(position: Position, cgroup: string, options: Needs): void {
    this.pins.exclusively(() => {
      this.pins.create();
      this.#pinMaps();
    });
    for (const hook of this.#hooks(position, options)) this.#attachments.repair(hook, this.#program(hook), cgroup);
  }

  /** The programs know the accepting end of a connection by the map `homes` alone. */
  get needsHomes(): boolean {
    return this.#object("sockops").isSelected("tie_original_old");
  }

  /** Hooks of a cgroup are not met by its sockets, or may soon not be; what is attached at the root is. Never false again. */
  get tagsReplaceCgroups(): boolean {
    // Kernels that tell sockops its namespace keep tag and cgroup side by side (5.15 brought both).
    this.#tagged ||= this.needsHomes && socketsMayBeTagged();
    return this.#tagged;
  }

  /** Takes the hooks away from one cgroup again. */
  detach(cgroup: string): void {
    this.detachId(statSync(cgroup, { bigint: true }).ino);
  }

  /** As `detach`, for a cgroup whose directory may be gone. */
  detachId(cgroup: bigint): void {
    this.#attachments.detach(cgroup);
  }

  /** Ends interception and leaves nothing of this instance in the kernel. */
  remove(): void {
    this.#attachments.detachAll();
    this[Symbol.dispose]();
    this.pins.remove();
  }

  [Symbol.dispose](): void {
    this.#attachments.close();
    for (const object of this.#objects.values()) object.close();
    this.#objects.clear();
    this.pool.close();
  }

  /** Loaded when the first of its hooks is needed. */
  #object(name: HookObject): BpfObject {
    const loaded = this.#objects.get(name);
    if (loaded) return loaded;
    const object = this.#load(name, this.options.standIns ?? false);
    this.#objects.set(name, object);
    return object;
  }

  #load(name: HookObject, standIns: boolean): BpfObject {
    const object = BpfObject.open(join(this.options.objects, `${name}.bpf.o`));
    const left = new Set(standIns ? STAND_INS.keys() : STAND_INS.values());
    const programs = object.programs().map((program) => program.name);
    const wanted = programs.filter((program) => !left.has(program));
    try {
      object.selectPrograms(wanted).load({ pool: this.pool });
      return object;
    } catch (error) {
      object.close();
      if (wanted.length === programs.length || standIns) throw error;
    }
    return this.#load(name, true);
  }

  #hooks(position: Position, needs: Needs): Hook[] {
    return hooksFor(position, { ...needs, homes: needs.externalProxy && this.needsHomes });
  }

  #program(hook: Hook): NativeProgram {
    const object = this.#object(hook.object);
    const standIn = STAND_INS.get(hook.program);
    // Of the two, the one that is loaded.
    return standIn !== undefined && object.isSelected(standIn) ? object.program(standIn) : object.program(hook.program);
  }

  #pinOf(name: (typeof SHARED)[number]): string {
    return name === "claims" ? this.pins.claims : join(this.pins.maps, name);
  }

  #adoptMaps(): void {
    for (const name of SHARED) {
      const path = this.#pinOf(name);
      if (!existsSync(path)) continue;
      this.pool.add(name, check(loadAddon().openPinnedMap(path), "bpf_obj_get", path));
    }
  }

  #pinMaps(): void {
    for (const name of SHARED) {
      const path = this.#pinOf(name);
      if (existsSync(path)) continue;
      check(this.pool.get(name)?.pin(path) ?? 0, "bpf_obj_pin", path);
    }
  }
}
