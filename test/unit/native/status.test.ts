// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import { AddonError, isAtLeast, loadAddonFrom } from "../../../src/native/load-addon.ts";
import { check, errnoName, isStatusError, SystemError } from "../../../src/native/status.ts";
import { ShuntError } from "../../../src/util/shunt-error.ts";

describe("a native status", () => {
  it("passes a result through, zero and objects included", () => {
    const handle = { close() {} };
    expect(check(0, "x")).toBe(0);
    expect(check(7, "x")).toBe(7);
    expect(check(handle as typeof handle | number, "x")).toBe(handle);
    expect(check(5n, "x")).toBe(5n);
  });

  it("becomes an error with number, name, call and context", () => {
    const error = (() => {
      try {
        return check(-1, "bpf_map_create", "map policy");
      } catch (caught) {
        return caught;
      }
    })();
    expect(error).toBeInstanceOf(SystemError);
    expect(error).toBeInstanceOf(ShuntError);
    expect(error).toMatchObject({
      code: "ERR_SYS_PERM",
      errno: 1,
      errnoName: "EPERM",
      syscall: "bpf_map_create",
      message: "bpf_map_create: EPERM (map policy)",
    });
  });

  it("has the common name of a number that has two, and one for kernel-only numbers", () => {
    expect([11, -95, 524, 9999].map(errnoName)).toEqual(["EAGAIN", "EOPNOTSUPP", "ENOTSUPP", "E9999"]);
  });

  it("is an error only below zero", () => {
    expect([-1, 0, 1, -1n, "−1", null].map(isStatusError)).toEqual([true, false, false, false, false, false]);
  });
});

describe("loading the addon", () => {
  it("names the command where it is not built", () => {
    expect(() => loadAddonFrom("/nonexistent/shunt.node")).toThrow(AddonError);
    expect(() => loadAddonFrom("/nonexistent/shunt.node")).toThrow(/not built: run `npm run build`/);
  });

  it("says why a file does not load", () => {
    expect(() => loadAddonFrom("/etc/passwd")).toThrow(expect.objectContaining({ code: "ERR_ADDON_LOAD" }));
  });

  it("compares versions by number, not by text", () => {
    expect(
      [
        ["1.1", "1.1"],
        ["1.10", "1.9"],
        ["2.0", "1.1"],
        ["1.0", "1.1"],
        ["0.9", "1.1"],
      ].map(([a, b]) => isAtLeast(a ?? "", b ?? "")),
    ).toEqual([true, true, true, false, false]);
  });
});
