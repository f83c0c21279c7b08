// SPDX-License-Identifier: Apache-2.0
import { commentOf } from "./naming.ts";
import type { Rule } from "./rule.ts";

/** One "-A" line. */
export function renderRule(chain: string, rule: Rule, workload: string): string {
  return [
    "-A",
    chain,
    ...rule.match.map(quote),
    "-m",
    "comment",
    "--comment",
    `"${commentOf(workload)}"`,
    ...rule.target,
  ].join(" ");
}

/** As iptables-restore takes words apart: double quotes, with a backslash before quote and backslash. */
function quote(word: string): string {
  return /^[\w@%+=:,./!-]+$/.test(word) ? word : `"${word.replace(/["\\]/g, "\\$&")}"`;
}
