// SPDX-License-Identifier: Apache-2.0
/** Hooks of a cgroup: loaded, attached to a scratch cgroup, and tried with real connections. */
import { AttachType } from "../../bpf/attach-type.ts";
import { Disposables } from "../../util/disposables.ts";
import { type FamilyObservations, LOOPBACK, MAGIC, type Observation, type Observations, observe } from "./exercise.ts";
import type { FeatureName, FeatureResult } from "./features.ts";
import { attempt, OK, reasonOf, refused } from "./outcome.ts";
import { ProbeObject } from "./probe-object.ts";
import type { ScratchCgroup } from "./scratch-cgroup.ts";
import { ScratchNetns } from "./scratch-netns.ts";

interface CgroupFeature {
  readonly name: FeatureName;
  /** Program of bpf/probe.bpf.c → where it is attached. */
  readonly programs: Readonly<Record<string, number>>;
  readonly maps?: readonly string[];
  /** What shows that the hook works. */
  readonly judge: (seen: Observations, objects: readonly ProbeObject[]) => FeatureResult;
}

const ORIGINAL = `${MAGIC[4]}:4660`;

const cgroupFeatures: readonly CgroupFeature[] = [
  {
    name: "cgroup-connect4",
    programs: { probe_connect4: AttachType.CgroupInet4Connect },
    judge: (seen) => arrived(seen[4].connected, `a connection to ${MAGIC[4]} was not redirected`),
  },
  {
    name: "cgroup-connect6",
    programs: { probe_connect6: AttachType.CgroupInet6Connect },
    judge: (seen) => (seen[6] ? arrived(seen[6].connected, `a connection to ${MAGIC[6]} was not redirected`) : OK),
  },
  {
    name: "cgroup-sendmsg",
    programs: { probe_sendmsg4: AttachType.CgroupUdp4Sendmsg, probe_sendmsg6: AttachType.CgroupUdp6Sendmsg },
    judge: (seen) =>
      each(seen, (family, { sent }) => arrived(sent, `a datagram to ${MAGIC[family]} was not redirected`)),
  },
  {
    name: "cgroup-recvmsg",
    programs: { probe_recvmsg4: AttachType.CgroupUdp4Recvmsg, probe_recvmsg6: AttachType.CgroupUdp6Recvmsg },
    judge: (seen) => each(seen, (family, { answered }) => is(answered, MAGIC[family], "the sender of a datagram")),
  },
  {
    name: "cgroup-getpeername",
    programs: {
      probe_peer4: AttachType.CgroupInet4Getpeername,
      probe_peer6: AttachType.CgroupInet6Getpeername,
    },
    judge: (seen) => each(seen, (family, { peer }) => is(peer, MAGIC[family], "the peer of a connection")),
  },
  {
    name: "cgroup-getsockopt",
    programs: { probe_sockopt: AttachType.CgroupGetsockopt },
    judge: (seen) => is(seen[4].original, ORIGINAL, "the answer to SO_ORIGINAL_DST"),
  },
  {
    name: "sockops",
    programs: { probe_sockops: AttachType.CgroupSockOps },
    maps: ["probe_seen"],
    judge: (_, [sockops]) => countedConnections(sockops),
  },
];

/** Every feature with an answer. All programs are attached at once, and one child process tries them. */
export async function probeCgroupFeatures(
  bytes: Uint8Array,
  cgroup: ScratchCgroup,
): Promise<Map<FeatureName, FeatureResult>> {
  const results = new Map<FeatureName, FeatureResult>();
  using held = new Disposables();
  const attached = new Map<CgroupFeature, ProbeObject[]>();
  for (const feature of cgroupFeatures) {
    const objects: ProbeObject[] = [];
    const result = await attempt(() => {
      for (const [program, attachType] of Object.entries(feature.programs)) {
        const object = held.use(new ProbeObject(bytes, program, feature.maps));
        objects.push(object);
        held.use(object.attach(cgroup.fd, attachType));
      }
    });
    if (result.ok) attached.set(feature, objects);
    else results.set(feature.name, result);
  }
  try {
    const netns = held.use(new ScratchNetns());
    const seen = await observe(cgroup.path, netns);
    for (const [feature, objects] of attached) results.set(feature.name, feature.judge(seen, objects));
  } catch (error) {
    for (const { name } of attached.keys()) results.set(name, refused(`attached, but not tried: ${reasonOf(error)}`));
  }
  return results;
}

function arrived(observation: Observation, complaint: string): FeatureResult {
  return "seen" in observation ? OK : refused(`${complaint}: ${observation.error}`);
}

function is(observation: Observation, wanted: string, what: string): FeatureResult {
  if ("error" in observation) return refused(`${what} could not be read: ${observation.error}`);
  return observation.seen === wanted ? OK : refused(`${what} is ${observation.seen}, not ${wanted}`);
}

/** Both families; the first refusal counts. */
function each(seen: Observations, judge: (family: 4 | 6, of: FamilyObservations) => FeatureResult): FeatureResult {
  const first = judge(4, seen[4]);
  return first.ok && seen[6] ? judge(6, seen[6]) : first;
}

function countedConnections(sockops: ProbeObject | undefined): FeatureResult {
  const value = sockops?.object.nativeMap("probe_seen").lookup(new Uint8Array(4));
  const counted = value instanceof Uint8Array && value.some((byte) => byte !== 0);
  return counted ? OK : refused(`the program saw no connection to ${LOOPBACK[4]} begin`);
}
