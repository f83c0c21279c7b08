// SPDX-License-Identifier: Apache-2.0
import type { EbpfInstance } from "./instance.ts";

/** A TCP entry is taken when the proxy accepts; one this old belongs to a connection that nobody accepted. */
const UNTAKEN_NS = 120_000_000_000n;
/** OWN_FLOW_NS of bpf/inbound.bpf.c, which takes no notice of older ones. */
const OWN_FLOW_NS = 60_000_000_000n;

/**
 * Deletes entries of `originals` that nobody will ask for again, so that the map cannot fill up. An external proxy may
 * ask late; its entries go when its end of the connection closes.
 */
export function sweepOriginals(
  instance: EbpfInstance,
  externalSlots: ReadonlySet<number>,
  nowNs = process.hrtime.bigint(),
): number {
  const originals = instance.map("originals");
  let swept = 0;
  for (const [key, value] of [...originals.entries()]) {
    if (externalSlots.has(value.slot)) continue;
    if (nowNs - value.createdNs > UNTAKEN_NS && originals.delete(key)) swept++;
  }
  return swept;
}

/** Deletes notes in `hops` that nobody has taken in time: a foreign program has kept the end of their socket from ours. */
export function sweepHops(instance: EbpfInstance, nowNs = process.hrtime.bigint()): number {
  const hops = instance.map("hops");
  let swept = 0;
  for (const [key, { slot, notedNs }] of [...hops.entries()]) {
    if (slot === 0 && nowNs - notedNs > OWN_FLOW_NS && hops.delete(key)) swept++;
  }
  return swept;
}

/** Deletes notes in `own_flows` of workers that died before they could. */
export function sweepOwnFlows(instance: EbpfInstance, nowNs = process.hrtime.bigint()): number {
  const flows = instance.map("own_flows");
  let swept = 0;
  for (const [key, notedNs] of [...flows.entries()]) {
    if (nowNs - notedNs > OWN_FLOW_NS && flows.delete(key)) swept++;
  }
  return swept;
}
