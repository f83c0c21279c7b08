// SPDX-License-Identifier: Apache-2.0
import { existsSync, mkdirSync, unlinkSync } from "node:fs";
import { join } from "node:path";
import { BpfObject } from "../../bpf/bpf-object.ts";
import { mapCodec } from "../../bpf/map-codec.ts";
import type { MapPool } from "../../bpf/map-pool.ts";
import { TypedMap } from "../../bpf/typed-map.ts";
import type { NativeLink, NativeProgram } from "../../native/addon.ts";
import { loadAddon } from "../../native/load-addon.ts";
import { check } from "../../native/status.ts";
import { ShuntError } from "../../util/shunt-error.ts";
import type { Drift, InboundListener } from "../backend.ts";
import type { NetworkNamespace } from "../network-namespace.ts";
import { SK_LOOKUP } from "./hooks.ts";
import type { EbpfInstance } from "./instance.ts";
import { removeTree } from "./pins.ts";
import { EbpfUnsupportedError } from "./plan.ts";
import { drift } from "./scope-drift.ts";

/** As in bpf/include/limits.h: [generation][family][member]. */
export const LISTENER_GROUP = 8;
/** Places of one family: two generations, of which one can take over from the other. */
export const LISTENER_PLACES = 2 * LISTENER_GROUP;
const OWN_MAPS = ["listeners", "lookup_self"] as const;

/** The sk_lookup program of one network namespace with the listeners it hands connections to. */
export class InboundLookup implements Disposable {
  /** Whether the program asks by which interface a connection came (≥ 5.17). */
  readonly tellsInterfaces: boolean;
  readonly #directory: string;
  readonly #listeners: TypedMap<"listeners">;
  readonly #link: NativeLink;
  readonly #inode: bigint;
  /** The maps of this program alone, on top of those of the instance. */
  readonly #pool: MapPool;

  constructor(
    instance: EbpfInstance,
    slot: number,
    netns: NetworkNamespace,
    listeners: readonly InboundListener[],
    tellsInterfaces: boolean,
  ) {
    this.tellsInterfaces = tellsInterfaces;
    this.#inode = netns.inode;
    this.#directory = instance.pins.workload(slot);
    mkdirSync(this.#directory, { recursive: true });
    const pool = instance.pool.extended();
    for (const name of OWN_MAPS) {
      const path = join(this.#directory, name);
      if (!existsSync(path)) continue;
      pool.add(name, check(loadAddon().openPinnedMap(path), "bpf_obj_get", path));
    }
    this.#pool = pool;
    try {
      // Open for no longer than it takes: an object holds a descriptor of every map it names, and there may be hundreds.
      using object = BpfObject.open(join(instance.options.objects, "inbound.bpf.o"));
      const program = tellsInterfaces ? "inbound_interfaces" : "inbound";
      load(object, program, pool);
      for (const name of OWN_MAPS) {
        const path = join(this.#directory, name);
        if (!existsSync(path)) check(pool.get(name)?.pin(path) ?? 0, "bpf_obj_pin", path);
      }
      object.map("lookup_self").set(0, { netns: netns.cookie(), slot });
      this.#listeners = listenersOf(object, pool);
      for (const listener of listeners) this.setListener(listener);
      this.#link = this.#attach(object.program(program), netns);
    } catch (error) {
      pool.close();
      throw error;
    }
  }

  /** `index` is the worker's number; those beyond the places are reached through the group's other members. */
  setListener({ family, index, fd }: InboundListener): void {
    if (index >= LISTENER_PLACES) return;
    const generation = Math.floor(index / LISTENER_GROUP) * 2 * LISTENER_GROUP;
    const member = (family === 6 ? LISTENER_GROUP : 0) + (index % LISTENER_GROUP);
    this.#listeners.set(generation + member, BigInt(fd));
  }

  /**
   * Runs the program on a `struct bpf_sk_lookup` (<linux/bpf.h>) without any packet (BPF_PROG_TEST_RUN, ≥ 5.13):
   * the cookie of the listener that would take the connection, 0 for none.
   */
  try(context: Uint8Array): bigint {
    const { programId } = check(this.#link.info(), "bpf_link_get_info", "sk_lookup");
    const program = check(loadAddon().programById(programId), "bpf_prog_get_fd_by_id", "sk_lookup");
    try {
      const run = program.testRun({ context, contextOutSize: context.length });
      const result = check(run, "bpf_prog_test_run", "sk_lookup");
      return new DataView(result.context.buffer, result.context.byteOffset).getBigUint64(0, true);
    } finally {
      program.close();
    }
  }

  /** What is wrong with what should be there. */
  verify(): Drift[] {
    const info = this.#link.info();
    const attached =
      typeof info !== "number" && info.netnsInode !== undefined && BigInt(info.netnsInode) === this.#inode;
    const pins = [...OWN_MAPS, "link"].map((name) => join(this.#directory, name));
    return [
      ...(attached ? [] : [drift("hook", "sk_lookup", "attached", "detached")]),
      ...pins.filter((path) => !existsSync(path)).map((path) => drift("pin", path, "pinned", undefined)),
    ];
  }

  /** Before another one is made that is to take over its listeners. */
  repin(): void {
    mkdirSync(this.#directory, { recursive: true });
    for (const name of OWN_MAPS) {
      const path = join(this.#directory, name);
      if (!existsSync(path)) check(this.#pool.get(name)?.pin(path) ?? 0, "bpf_obj_pin", path);
    }
  }

  remove(): void {
    this.#link.detach();
    this[Symbol.dispose]();
    removeTree(this.#directory);
  }

  [Symbol.dispose](): void {
    this.#link.close();
    this.#pool.close();
  }

  #attach(program: NativeProgram, netns: NetworkNamespace): NativeLink {
    const path = join(this.#directory, "link");
    if (existsSync(path)) {
      const link = check(loadAddon().openPinnedLink(path), "bpf_obj_get", path);
      // A slot can have had another namespace; and a link whose namespace has gone is detached for ever (ENOLINK).
      if (standsIn(link, netns) && link.update(program) === 0) return link;
      link.detach();
      link.close();
      unlinkSync(path);
    }
    const link = check(program.link(netns.fd, SK_LOOKUP), "bpf_link_create", `sk_lookup in ${netns.path}`);
    const status = link.pin(path);
    if (status < 0) {
      link.close();
      throw new ShuntError("ERR_INTERCEPT_PIN", `cannot pin ${path}: errno ${-status}`);
    }
    return link;
  }
}

function load(object: BpfObject, program: "inbound" | "inbound_interfaces", pool: MapPool): void {
  object.selectPrograms([program]);
  try {
    object.load({ pool });
  } catch (cause) {
    if (program === "inbound") throw cause;
    const message = `interfaces.exclude: sk_lookup does not tell by which interface a connection came (≥ 5.17): ${(cause as Error).message}`;
    throw new EbpfUnsupportedError("ERR_EBPF_UNSUPPORTED", message, { cause });
  }
}

function standsIn(link: NativeLink, netns: NetworkNamespace): boolean {
  const { netnsInode } = check(link.info(), "bpf_link_get_info_by_fd");
  return netnsInode !== undefined && BigInt(netnsInode) === netns.inode;
}

/** The map by the pool's handle, which outlives the object. */
function listenersOf(object: BpfObject, pool: MapPool): TypedMap<"listeners"> {
  const native = pool.get("listeners");
  const declared = object.maps().find(({ name }) => name === "listeners");
  const codec = declared && mapCodec(object.types, declared);
  if (!native || !codec) throw new ShuntError("ERR_INTERCEPT_OBJECT", `${object.name} has no map listeners`);
  return new TypedMap("listeners", native, codec);
}
