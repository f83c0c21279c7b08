// SPDX-License-Identifier: Apache-2.0
import { it } from "vitest";
import { COMMANDS } from "../../../src/cli/command-table.ts";
import { expectCommittedPart } from "../../support/committed-file.ts";
import { commandReference } from "../../support/field-table.ts";

it("docs/cli.md describes every command and option", () => {
  expectCommittedPart("docs/cli.md", "commands", COMMANDS.map(commandReference).join("\n\n"));
});
