// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import { createLogger, type LogFormat, type Logger, type LogLevel } from "../../../src/util/log.ts";
import { ShuntError } from "../../../src/util/shunt-error.ts";

function capture(format: LogFormat, use: (log: Logger) => void, level: LogLevel = "info"): string[] {
  const lines: string[] = [];
  use(createLogger({ level, format, write: (line) => lines.push(line) }));
  return lines;
}

describe("a log in text", () => {
  it("has time, level, component, message and fields on one line", () => {
    const [line] = capture("text", (log) =>
      log.child({ component: "workers" }).warn({ worker: 2, address: "[::1]:80" }, "worker lost"),
    );
    expect(line).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+Z warn {2}workers: worker lost worker=2 address=\[::1\]:80\n$/);
  });

  it("quotes values that could pass for another field or line", () => {
    const [line] = capture("text", (log) => log.info({ path: "a b=c\nx" }, "m"));
    expect(line).toContain(String.raw`path="a b=c\nx"`);
    expect(line?.match(/\n/g)).toHaveLength(1);
  });

  it("tells message and code of a deliberate error, and the stack of a stranger", () => {
    const lines = capture("text", (log) => {
      log.error({ err: new ShuntError("ERR_X", "it broke") }, "m");
      log.error({ err: new RangeError("odd") }, "m");
    });
    expect(lines[0]).toMatch(/ err="it broke" code=ERR_X\n$/);
    expect(lines[1]).toMatch(/ err=odd stack="RangeError: odd/);
  });
});

describe("a log in JSON", () => {
  it("has the level by name, no process id and no host", () => {
    const [line] = capture("json", (log) => log.info({ a: 1 }, "m"));
    expect(JSON.parse(line ?? "")).toEqual({ level: "info", time: expect.any(String), a: 1, msg: "m" });
  });
});

it("a logger leaves out what is below its level, and says so", () => {
  let asked: boolean[] = [];
  const lines = capture("json", (log) => {
    log.debug({}, "no");
    log.child({}).trace({}, "no");
    asked = [log.enabled("debug"), log.enabled("warn")];
  });
  expect(lines).toEqual([]);
  expect(asked).toEqual([false, true]);
});
