// SPDX-License-Identifier: Apache-2.0
import { it } from "vitest";
import { COMMANDS } from "../../../src/cli/command-table.ts";
import { ENVIRONMENT_ONLY, ISTIO_FLAGS, type IstioFlag } from "../../../src/cli/istio/flag-table.ts";
import { expectCommittedPart } from "../../support/committed-file.ts";
import { commandReference, markdown } from "../../support/field-table.ts";

it("docs/cli.md describes every command and option", () => {
  expectCommittedPart("docs/cli.md", "commands", COMMANDS.map(commandReference).join("\n\n"));
});

it("docs/istio-compatibility.md has every flag of istio-iptables with its variables and default", () => {
  const code = (text: string): string => `\`${text}\``;
  const flags = ISTIO_FLAGS.map((flag: IstioFlag) => [
    [...(flag.short === undefined ? [] : [`-${flag.short}`]), `--${flag.name}`].map(code).join(" "),
    flag.variables.map(code).join(" "),
    flag.default === "" ? "" : code(flag.default),
    flag.description,
  ]);
  const others = ENVIRONMENT_ONLY.map(([name, usual, description]) => [
    "",
    code(name),
    usual === "" ? "" : code(usual),
    description,
  ]);
  const table = markdown(["flag", "variables, the last one wins", "default", "meaning"], [...flags, ...others]);
  expectCommittedPart("docs/istio-compatibility.md", "flags", table);
});
