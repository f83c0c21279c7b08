// SPDX-License-Identifier: Apache-2.0
import { constants } from "node:os";
import { ShuntError } from "../util/shunt-error.ts";
import type { Status } from "./addon.ts";

/** Numbers the kernel answers that no libc names (include/linux/errno.h). */
const KERNEL_ONLY: readonly (readonly [number, string])[] = [
  [512, "ERESTARTSYS"],
  [524, "ENOTSUPP"],
];

/** Second names of a number that has a better known one. */
const ALIASES: ReadonlySet<string> = new Set(["EWOULDBLOCK", "ENOTSUP"]);

const NAMES: ReadonlyMap<number, string> = new Map([
  ...Object.entries(constants.errno)
    .filter(([name]) => !ALIASES.has(name))
    .map(([name, number]) => [number, name] as const),
  ...KERNEL_ONLY,
]);

/** `EPERM` for 1; `E999` for a number nobody knows. Takes either sign. */
export function errnoName(errno: number): string {
  const number = Math.abs(errno);
  return NAMES.get(number) ?? `E${number}`;
}

/** A system or libbpf call that failed. `errno` is positive. */
export class SystemError extends ShuntError<`ERR_SYS_${string}`> {
  readonly errno: number;
  readonly errnoName: string;
  readonly syscall: string;

  constructor(status: Status, syscall: string, context?: string, options?: ErrorOptions) {
    const name = errnoName(status);
    super(`ERR_SYS_${name.slice(1)}`, `${syscall}: ${name}${context === undefined ? "" : ` (${context})`}`, options);
    this.errno = Math.abs(status);
    this.errnoName = name;
    this.syscall = syscall;
  }
}

/** Whether a native call answered −errno instead of its result. */
export function isStatusError(result: unknown): result is number {
  return typeof result === "number" && result < 0;
}

/** A native call's result without its failing status; a bare Status stays a number. */
export type Checked<T> = [Exclude<T, Status>] extends [never] ? number : Exclude<T, Status>;

/**
 * The result of a native call. Throws SystemError for −errno; `context` says on what it was tried (a
 * path, a map, an address).
 */
export function check<T>(result: T, syscall: string, context?: string): Checked<T> {
  if (isStatusError(result)) throw new SystemError(result, syscall, context);
  return result as Checked<T>;
}
