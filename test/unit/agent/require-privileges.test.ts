// SPDX-License-Identifier: Apache-2.0
import { expect, it } from "vitest";
import { missingCapabilities } from "../../../src/agent/require-privileges.ts";

it.each([
  ["000001ffffffffff", []],
  ["0000000000201000", []],
  ["0000000000200000", ["CAP_NET_ADMIN"]],
  ["0000000000001000", ["CAP_SYS_ADMIN"]],
  ["0000000000000000", ["CAP_NET_ADMIN", "CAP_SYS_ADMIN"]],
])("effective capabilities %s lack %j", (effective, missing) => {
  expect(missingCapabilities(`Name:\tnode\nCapInh:\t0\nCapEff:\t${effective}\nCapBnd:\t0\n`)).toEqual(missing);
});
