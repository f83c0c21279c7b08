// SPDX-License-Identifier: Apache-2.0
/** enum bpf_map_type of <linux/bpf.h>: user-space interface, so the numbers never change. */
export const MapType = {
  Hash: 1,
  Array: 2,
  PercpuHash: 5,
  PercpuArray: 6,
  LruHash: 9,
  LruPercpuHash: 10,
  LpmTrie: 11,
  ArrayOfMaps: 12,
  HashOfMaps: 13,
  Sockmap: 15,
  Sockhash: 18,
  PercpuCgroupStorage: 21,
  SkStorage: 24,
  Ringbuf: 27,
} as const;

const PER_CPU: ReadonlySet<number> = new Set([
  MapType.PercpuHash,
  MapType.PercpuArray,
  MapType.LruPercpuHash,
  MapType.PercpuCgroupStorage,
]);

/** Whether a lookup gives one value for each possible CPU. */
export function isPerCpu(mapType: number): boolean {
  return PER_CPU.has(mapType);
}
