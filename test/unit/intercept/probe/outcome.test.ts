// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { VerifierError } from "../../../../src/bpf/verifier-error.ts";
import { attempt } from "../../../../src/intercept/probe/outcome.ts";
import { SystemError } from "../../../../src/native/status.ts";
import { run } from "../../../../src/util/exec.ts";

async function reason(action: () => void | Promise<void>): Promise<string> {
  const result = await attempt(action);
  return result.ok ? "ok" : result.reason;
}

describe("the reason of a refusal", () => {
  it("is nothing when it worked", async () => {
    expect(await attempt(() => {})).toEqual({ ok: true });
  });

  it("has the errno by name", async () => {
    const text = await reason(() => {
      throw new SystemError(-1, "bpf(BPF_MAP_CREATE)");
    });
    expect(text).toBe("bpf(BPF_MAP_CREATE): EPERM");
  });

  it("has errno and the verifier's line for a program", async () => {
    const text = await reason(() => {
      throw new VerifierError("probe_x", "0: (85) call bpf_x#122\nunknown func bpf_x#122\n", {
        cause: new SystemError(-22, "bpf_object__load"),
      });
    });
    expect(text).toBe("EINVAL: probe_x: unknown func bpf_x#122");
  });

  it("names a program that is not installed", async () => {
    expect(await reason(async () => void (await run("shunt-no-such-program", [])))).toBe(
      "program shunt-no-such-program not found",
    );
  });

  it("has the file system's own words, with the errno's name", async () => {
    expect(await reason(() => void readFileSync("/proc/shunt-no-such-file"))).toMatch(/^ENOENT: .*shunt-no-such-file/);
  });
});
