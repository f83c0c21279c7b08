// SPDX-License-Identifier: Apache-2.0
import { ShuntError } from "../util/shunt-error.ts";

/**
 * ERR_BPF_LAYOUT: the object's type cannot cross the border between user space and a map.
 * ERR_BPF_VALUE: a value does not fit its field, or bytes of a map have no meaning.
 */
export class CodecError extends ShuntError<"ERR_BPF_LAYOUT" | "ERR_BPF_VALUE"> {}

/** "workload.flags: 4294967296 is not …" */
export function badValue(field: string, value: unknown, expected: string): CodecError {
  return new CodecError("ERR_BPF_VALUE", `${field}: ${show(value)} is not ${expected}`);
}

function show(value: unknown): string {
  if (typeof value === "bigint") return `${value}n`;
  if (typeof value === "string") return JSON.stringify(value);
  if (Array.isArray(value)) return `an array of ${value.length}`;
  return String(value);
}
