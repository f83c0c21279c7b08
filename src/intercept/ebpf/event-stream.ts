// SPDX-License-Identifier: Apache-2.0
import type { Structs } from "../../bpf/generated/types.ts";
import { loadAddon } from "../../native/load-addon.ts";
import { check } from "../../native/status.ts";
import type { EbpfInstance } from "./instance.ts";

/** One verdict of a traced workload, as `struct event` in bpf/include/types.h has it. */
export type VerdictEvent = Structs["event"];

/** Calls back for every verdict of traced workloads, from the event loop; closed by disposing. */
export function followEvents(instance: EbpfInstance, onEvent: (event: VerdictEvent) => void): Disposable {
  const codec = instance.eventCodec();
  const watcher = check(
    loadAddon().ringBuffer(instance.nativeMap("events"), (record) => {
      onEvent(codec.decode(new DataView(record.buffer, record.byteOffset, record.byteLength), 0));
    }),
    "ring_buffer__new",
    "events",
  );
  // Tracing alone keeps no process alive.
  watcher.unref();
  return { [Symbol.dispose]: () => watcher.close() };
}
