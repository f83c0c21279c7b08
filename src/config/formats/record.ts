// SPDX-License-Identifier: Apache-2.0
import { z } from "zod";
import { count, direction, endpoint, time } from "./values.ts";

export const OUTCOMES = [
  "closed",
  "reset-by-downstream",
  "reset-by-upstream",
  "connect-failed",
  "timeout",
  "refused",
  "worker-lost",
] as const;

export const DATA_PATHS = ["direct", "leg", "splice", "copy"] as const;

/** One line of the record file. Fields are only ever added, so readers must bear ones they don't know. */
export const recordSchema = z
  .object({
    time: time.meta({ description: "when the connection was accepted" }),
    id: z.string().meta({ description: "unique to the connection" }),
    direction,
    source: endpoint.meta({ description: "who connected" }),
    originalDestination: endpoint
      .nullable()
      .meta({ description: "where the connection was meant to go; null where nobody knows" }),
    upstream: endpoint.nullable().meta({ description: "where the proxy connected to; null where it did not" }),
    bytesSent: count.meta({ description: "bytes sent to the downstream, as Envoy's %BYTES_SENT%" }),
    bytesReceived: count.meta({ description: "bytes received from the downstream, as Envoy's %BYTES_RECEIVED%" }),
    durationMs: z.number().min(0).meta({ description: "from accept to the end, in milliseconds" }),
    outcome: z.enum(OUTCOMES).meta({ description: "how the connection ended" }),
    detail: z.string().meta({ description: "the outcome in words; may be empty" }),
    interception: z
      .string()
      .meta({ description: "how the connection came to the proxy", examples: ["ebpf", "iptables"] }),
    workload: z.string().meta({ description: "name of the workload" }),
    acceleration: z
      .object({
        sent: z.enum(DATA_PATHS).meta({ description: "way of the bytes to the downstream" }),
        received: z.enum(DATA_PATHS).meta({ description: "way of the bytes from the downstream" }),
        reason: z.string().meta({ description: "what kept it from a faster one; `none` where nothing did" }),
      })
      .readonly()
      .optional()
      .meta({ description: "how the bytes went; absent where acceleration is off" }),
  })
  .meta({ title: "Shunt connection record", description: "One line of the file named by --record." });
