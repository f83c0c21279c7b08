// SPDX-License-Identifier: Apache-2.0
import { execFileSync } from "node:child_process";
import { iptablesBackend } from "../../src/intercept/iptables/backend.ts";

/** All rules and user-defined chains of both families, without time stamps, counters and tables that hold nothing. */
export function rulesOf(netnsPath: string, flavour: "nft" | "legacy"): string {
  return ["iptables", "ip6tables"]
    .map((program) => {
      const text = execFileSync("nsenter", [`--net=${netnsPath}`, `${program}-${flavour}-save`], {
        encoding: "utf8",
        stdio: ["ignore", "pipe", "ignore"],
      });
      const tables = text.split(/^(?=\*)/m).map((table) =>
        table
          .split("\n")
          .filter((line) => line !== "" && !line.startsWith("#"))
          .map((line) => line.replace(/ \[\d+:\d+\]$/, ""))
          .join("\n"),
      );
      return `${program}\n${tables
        .filter((table) => /^-A |^:\S+ -/m.test(table))
        .sort()
        .join("\n")}`;
    })
    .join("\n");
}

export function inNetns(netnsPath: string, program: string, ...args: string[]): string {
  return execFileSync("nsenter", [`--net=${netnsPath}`, program, ...args], {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "pipe"],
  });
}

/** Why rules of this flavour can't be made on this machine: a program or a feature of the kernel that is missing. */
export async function whyUnusable(flavour: "nft" | "legacy"): Promise<string | undefined> {
  return (await iptablesBackend.probe()).flavours[flavour].reason;
}
