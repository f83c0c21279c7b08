// SPDX-License-Identifier: Apache-2.0
import { ShuntError } from "../util/shunt-error.ts";

/** The kernel refused a program. The message ends with the verifier's last meaningful line; `log` has all of them. */
export class VerifierError extends ShuntError<"ERR_BPF_VERIFIER"> {
  readonly log: string;

  constructor(object: string, log: string, options?: ErrorOptions) {
    super("ERR_BPF_VERIFIER", `${object}: ${lastMeaningfulLine(log)}`, options);
    this.log = log;
  }
}

/** Statistics that the verifier prints after its verdict. */
const STATISTICS =
  /^(processed \d+ insns|verification time|stack depth|peak_states|max_states|mark_read|insns_processed)/;

/** Where the verifier never spoke, the log is libbpf's warnings, of which the first is the cause. */
const LIBBPF = /^libbpf: /;

/** The line that says why. */
export function lastMeaningfulLine(log: string): string {
  const lines = log
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "" && !STATISTICS.test(line));
  const spoken = lines.filter((line) => !LIBBPF.test(line)).at(-1);
  return spoken ?? lines[0]?.replace(LIBBPF, "") ?? "the kernel gave no reason";
}
