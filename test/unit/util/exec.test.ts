// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import { ExecError, formatCommand, run } from "../../../src/util/exec.ts";

async function failure(promise: Promise<unknown>): Promise<ExecError> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof ExecError) return error;
    throw error;
  }
  throw new Error("the program ended well");
}

describe("run", () => {
  it("gives what the program wrote, and writes its input", async () => {
    const result = await run("sh", ["-c", "cat; echo two >&2"], { stdin: "one\n" });
    expect(result).toEqual({ stdout: "one\n", stderr: "two\n" });
  });

  it("passes arguments without a shell", async () => {
    const { stdout } = await run("printf", ["%s|", "a b", "$HOME", "'"]);
    expect(stdout).toBe("a b|$HOME|'|");
  });

  it("names program, arguments, status and the last line of standard error", async () => {
    const error = await failure(run("sh", ["-c", "echo first >&2; echo the reason >&2; exit 7"]));
    expect(error).toMatchObject({ code: "ERR_EXEC_FAILED", program: "sh", status: 7, stderr: "first\nthe reason\n" });
    expect(error.message).toBe("sh -c 'echo first >&2; echo the reason >&2; exit 7' ended with status 7: the reason");
  });

  it("names the signal that ended the program", async () => {
    const error = await failure(run("sh", ["-c", "kill -TERM $$"]));
    expect(error).toMatchObject({ code: "ERR_EXEC_FAILED", status: undefined, signal: "SIGTERM" });
  });

  it("tells a missing program from a failing one", async () => {
    const error = await failure(run("shunt-no-such-program", []));
    expect(error.code).toBe("ERR_EXEC_NOT_FOUND");
    expect(error.cause).toBeInstanceOf(Error);
  });

  it("kills a program that takes too long", async () => {
    const error = await failure(run("sleep", ["60"], { timeoutMs: 50 }));
    expect(error).toMatchObject({ code: "ERR_EXEC_TIMEOUT", signal: "SIGKILL" });
  });

  it("stops when the caller aborts, before and during the run", async () => {
    const controller = new AbortController();
    const running = failure(run("sleep", ["60"], { signal: controller.signal }));
    controller.abort(new Error("no longer wanted"));
    expect((await running).code).toBe("ERR_EXEC_ABORTED");
    const late = await failure(run("sleep", ["60"], { signal: controller.signal }));
    expect(late.cause).toMatchObject({ message: "no longer wanted" });
  });

  it("survives a program that doesn't read its input", async () => {
    await expect(run("true", [], { stdin: "x".repeat(1 << 20) })).resolves.toEqual({ stdout: "", stderr: "" });
  });
});

describe("formatCommand", () => {
  it("quotes what a shell would take apart", () => {
    expect(formatCommand("ip", ["netns", "a b", "it's", ""])).toBe("ip netns 'a b' 'it'\\''s' ''");
  });
});
