// SPDX-License-Identifier: Apache-2.0
/** Maps, helpers and hooks that are tried without a process in a cgroup. */
import { unlinkSync } from "node:fs";
import { join } from "node:path";
import { AttachType } from "../../bpf/attach-type.ts";
import { Bpffs } from "../../bpf/bpffs.ts";
import { MapType } from "../../bpf/map-type.ts";
import type { NativeMap } from "../../native/addon.ts";
import { loadAddon } from "../../native/load-addon.ts";
import { check } from "../../native/status.ts";
import { socketFd } from "../../net/socket-fd.ts";
import { ShuntError } from "../../util/shunt-error.ts";
import { learnNetnsCookie } from "../learn-netns-cookie.ts";
import { LOOPBACK } from "./exercise.ts";
import type { FeatureName, FeatureResult } from "./features.ts";
import { attempt } from "./outcome.ts";
import { ProbeObject } from "./probe-object.ts";
import type { ScratchCgroup } from "./scratch-cgroup.ts";
import { scratchName } from "./scratch-name.ts";
import { ScratchNetns } from "./scratch-netns.ts";

/** Any port nobody listens on in a fresh namespace. */
const DEAD_PORT = 9;

/** What `bytes`, the built bpf/probe.bpf.c, can do here. `cgroup` undefined: links are tried on a namespace. */
export async function probeKernelFeatures(
  bytes: Uint8Array,
  cgroup: ScratchCgroup | undefined,
): Promise<Map<FeatureName, FeatureResult>> {
  const load = (program: string, maps: readonly string[] = []) =>
    attempt(() => new ProbeObject(bytes, program, maps)[Symbol.dispose]());
  return new Map<FeatureName, FeatureResult>([
    ["bpf-syscall", await attempt(() => createMap(MapType.Array, 4, 4).close())],
    ["bpffs", await attempt(pinAndUnpin)],
    ["netns", await attempt(() => new ScratchNetns()[Symbol.dispose]())],
    ["bpf-link", await attempt(() => link(bytes, cgroup))],
    ["ringbuf", await attempt(() => createRingbuf().close())],
    ["sk-storage", await load("probe_storage4", ["probe_storage"])],
    ["sk-storage-sockops", await load("probe_storage_ops", ["probe_storage"])],
    ["sk-storage-inherited", await attempt(() => inherit(bytes))],
    ["netns-cookie-connect", await load("probe_cookie4")],
    ["netns-cookie-sockops", await load("probe_cookie_ops")],
    [
      "so-netns-cookie",
      await attempt(() => void check(loadAddon().netnsCookie(undefined), "getsockopt(SO_NETNS_COOKIE)")),
    ],
    ["netns-cookie-learnt", await attempt(learnCookies)],
    ["sk-lookup", await attempt(() => steer(bytes))],
    ["sockhash", await load("probe_sockhash", ["probe_socks"])],
    ["sk-msg", await attempt(() => attachToSockhash(bytes))],
  ]);
}

function createMap(type: number, keySize: number, valueSize: number): NativeMap {
  const options = { type, name: "shunt_probe", keySize, valueSize, maxEntries: 1, flags: 0 };
  return check(loadAddon().createMap(options), "bpf(BPF_MAP_CREATE)");
}

/** Its size is a power of two of whole pages; 64 KiB is one on every architecture. */
function createRingbuf(): NativeMap {
  const options = {
    type: MapType.Ringbuf,
    name: "shunt_probe",
    keySize: 0,
    valueSize: 0,
    maxEntries: 1 << 16,
    flags: 0,
  };
  return check(loadAddon().createMap(options), "bpf(BPF_MAP_CREATE)");
}

function pinAndUnpin(): void {
  using bpffs = Bpffs.open();
  const map = createMap(MapType.Array, 4, 4);
  try {
    const path = join(bpffs.path, scratchName());
    check(map.pin(path), "bpf(BPF_OBJ_PIN)", path);
    unlinkSync(path);
  } finally {
    map.close();
  }
}

function link(bytes: Uint8Array, cgroup: ScratchCgroup | undefined): void {
  using connect = new ProbeObject(bytes, "probe_connect4");
  if (cgroup === undefined) throw new ShuntError("ERR_PROBE_CGROUP", "there is no cgroup to link a program to");
  const made = check(connect.program.link(cgroup.fd, AttachType.CgroupInet4Connect), "bpf(BPF_LINK_CREATE)");
  try {
    check(made.update(connect.program), "bpf(BPF_LINK_UPDATE)");
  } finally {
    made.close();
  }
}

/** A connection to a port nobody listens on arrives at our listener. */
async function steer(bytes: Uint8Array): Promise<void> {
  using lookup = new ProbeObject(bytes, "probe_lookup", ["probe_listener"]);
  using netns = new ScratchNetns();
  using _attached = lookup.attach(netns.fd, AttachType.SkLookup);
  const listener = await netns.serve(LOOPBACK[4]);
  const value = new Uint8Array(8);
  new DataView(value.buffer).setBigUint64(0, BigInt(listener.fd), true);
  check(lookup.object.nativeMap("probe_listener").update(new Uint8Array(4), value, 0), "bpf(BPF_MAP_UPDATE_ELEM)");
  await netns.connect(LOOPBACK[4], DEAD_PORT);
}

/** Of two namespaces: each has its own, the same every time, and the one that SO_NETNS_COOKIE tells where that exists. */
function learnCookies(): void {
  using one = new ScratchNetns();
  using other = new ScratchNetns();
  const cookie = learnNetnsCookie(one.fd);
  const told = loadAddon().netnsCookie(one.fd);
  if (learnNetnsCookie(one.fd) !== cookie || learnNetnsCookie(other.fd) === cookie || (told > 0 && told !== cookie))
    throw new ShuntError("ERR_PROBE_COOKIE", `a connect hook says ${cookie} of a namespace and does not stay with it`);
}

/** What user space puts on a listener is on the connection that it accepts. */
async function inherit(bytes: Uint8Array): Promise<void> {
  using bind = new ProbeObject(bytes, "probe_bind4", ["probe_homes"]);
  using netns = new ScratchNetns();
  const homes = bind.object.nativeMap("probe_homes");
  const home = Uint8Array.of(8, 7, 6, 5, 4, 3, 2, 1);
  let note: (found: Uint8Array | number) => void = () => {};
  const noted = new Promise<Uint8Array | number>((resolve) => (note = resolve));
  const listener = await netns.serve(LOOPBACK[4], (socket) => note(homes.lookup(fdKey(socketFd(socket)))));
  check(homes.update(fdKey(listener.fd), home, 0), "bpf(BPF_MAP_UPDATE_ELEM)");
  await netns.connect(LOOPBACK[4], listener.port);
  const found = check(await noted, "bpf(BPF_MAP_LOOKUP_ELEM)", "the accepted socket");
  if (!home.every((byte, i) => byte === found[i]))
    throw new ShuntError("ERR_PROBE_HOME", "another value was inherited");
}

/** Socket storage is reached by descriptor. */
function fdKey(fd: number): Uint8Array {
  return new Uint8Array(Uint32Array.of(fd).buffer);
}

function attachToSockhash(bytes: Uint8Array): void {
  using verdict = new ProbeObject(bytes, "probe_msg");
  const socks = createMap(MapType.Sockhash, 4, 4);
  try {
    check(verdict.program.attach(socks.fd, AttachType.SkMsgVerdict, 0), "bpf(BPF_PROG_ATTACH)");
    check(verdict.program.detach(socks.fd, AttachType.SkMsgVerdict), "bpf(BPF_PROG_DETACH)");
  } finally {
    socks.close();
  }
}
