// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import { missingCapabilities, parseOsRelease, whyUnsupported } from "../../../scripts/setup/machine.mjs";
import { isAtLeast } from "../../../scripts/setup/node-version.mjs";

describe("the machine a set-up runs on", () => {
  it.each([
    ['ID=debian\nVERSION_ID="12"', true],
    ['ID=debian\nVERSION_ID="13"', true],
    ["ID=debian\nPRETTY_NAME=sid", true],
    ['ID=debian\nVERSION_ID="11"', false],
    ['ID=ubuntu\nVERSION_ID="24.04"', true],
    ['ID=ubuntu\nVERSION_ID="25.10"', true],
    ['ID=ubuntu\nVERSION_ID="22.04"', false],
    ['ID=fedora\nVERSION_ID="44"\nPRETTY_NAME="Fedora Linux 44"', false],
    ["", false],
  ])("%j is supported: %s", (text, supported) => {
    expect(whyUnsupported(parseOsRelease(text)) === undefined).toBe(supported);
  });

  it("is named in the refusal", () => {
    expect(whyUnsupported(parseOsRelease('ID=fedora\nPRETTY_NAME="Fedora Linux 44"'))).toContain("Fedora Linux 44");
  });

  it("lacks the capabilities that the effective set lacks", () => {
    expect(missingCapabilities("CapEff:\t000001ffffffffff\n")).toEqual([]);
    expect(missingCapabilities("CapEff:\t00000000a80425fb\n")).toEqual(["CAP_NET_ADMIN", "CAP_SYS_ADMIN"]);
  });

  it.each([
    ["20.19.0", "20.19.0", true],
    ["20.18.3", "20.19.0", false],
    ["24.1.0", "20.19.0", true],
    ["9.99.99", "20.19.0", false],
  ])("has a Node %s that is at least %s: %s", (version, minimum, expected) => {
    expect(isAtLeast(version, minimum)).toBe(expected);
  });
});
