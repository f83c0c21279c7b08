// SPDX-License-Identifier: Apache-2.0
/** Values that several reports share. */
import { z } from "zod";

export const count = z.int().min(0);
export const time = z.iso.datetime({ offset: true });
export const direction = z.enum(["outbound", "inbound", "dns"]).meta({ description: "seen from the workload" });
/** Port 0 stands where none is known. */
export const endpoint = z
  .string()
  .regex(/^(?:\d{1,3}(?:\.\d{1,3}){3}|\[[0-9a-f:.]+\]):\d{1,5}$/)
  .meta({ description: "ip:port, IPv6 in brackets" });
