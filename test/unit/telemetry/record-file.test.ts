// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, readFileSync, renameSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { RecordFile, type RecordFileError, reopenOnSignal } from "../../../src/telemetry/record-file.ts";

let folder: string;
let errors: RecordFileError[];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), `shunt-test-${process.pid}-`));
  errors = [];
});
afterEach(() => rmSync(folder, { recursive: true }));

const open = (path = join(folder, "r.jsonl")): RecordFile =>
  new RecordFile({ path, setting: "--record", onError: (error) => errors.push(error) });
const numbers = (name: string): number[] =>
  readFileSync(join(folder, name), "utf8")
    .trimEnd()
    .split("\n")
    .map((line) => (JSON.parse(line) as { n: number }).n);
const count = (length: number, from = 0): number[] => Array.from({ length }, (_, i) => from + i);

it("has every line in order when close resolves", async () => {
  const file = open();
  for (const n of count(5000)) file.append({ n });
  await file.close();
  expect(numbers("r.jsonl")).toEqual(count(5000));
  expect([file.written, file.lost]).toEqual([5000, 0]);
});

it("has the lines appended so far when flush resolves, while more are coming", async () => {
  const file = open();
  file.append({ n: 0 });
  const flushed = file.flush();
  file.append({ n: 1 });
  await flushed;
  expect(numbers("r.jsonl").slice(0, 1)).toEqual([0]);
  await file.flush();
  expect(numbers("r.jsonl")).toEqual([0, 1]);
  await file.close();
});

it("appends to what is there and shares the file with other writers, line by line", async () => {
  const files = [open(), open(), open()];
  for (const n of count(3000)) files[n % 3]?.append({ n, padding: "x".repeat(200) });
  await Promise.all(files.map((file) => file.close()));
  const again = open();
  again.append({ n: 3000 });
  await again.close();
  expect(numbers("r.jsonl").sort((a, b) => a - b)).toEqual(count(3001));
});

it("goes on in a new file after SIGUSR1, without losing a line", async () => {
  const file = open();
  const forget = reopenOnSignal(file);
  for (const n of count(100)) file.append({ n });
  await file.flush();
  renameSync(join(folder, "r.jsonl"), join(folder, "r.jsonl.1"));
  const signalled = new Promise((resolve) => process.once("SIGUSR1", resolve));
  process.kill(process.pid, "SIGUSR1");
  await signalled;
  for (const n of count(100, 100)) file.append({ n });
  await file.close();
  forget();
  expect(numbers("r.jsonl.1")).toEqual(count(100));
  expect(numbers("r.jsonl")).toEqual(count(100, 100));
});

it("keeps the old file and says why when the new one can't be opened", async () => {
  const file = open();
  renameSync(folder, `${folder}-moved`);
  try {
    file.reopen();
    file.append({ n: 1 });
    await file.close();
    expect(errors.map(({ code }) => code)).toEqual(["ERR_RECORD_OPEN"]);
  } finally {
    renameSync(`${folder}-moved`, folder);
  }
  expect(numbers("r.jsonl")).toEqual([1]);
});

it("names setting, path and reason when the file can't be opened", () => {
  expect(() => open(join(folder, "no/r"))).toThrow(
    `--record ${folder}/no/r: cannot open the file for appending: no such file or directory (ENOENT)`,
  );
  expect(() => open(folder)).toThrow("illegal operation on a directory (EISDIR)");
});

it("counts the lines a full disk takes away and reports each failed write", async () => {
  const file = open("/dev/full");
  file.append({ n: 1 });
  await file.flush();
  file.append({ n: 2 });
  await file.close();
  expect([file.written, file.lost]).toEqual([0, 2]);
  expect(errors[0]?.message).toBe("--record /dev/full: cannot append to the file: no space left on device (ENOSPC)");
});

it("is not readable for everybody", async () => {
  await open().close();
  expect(statSync(join(folder, "r.jsonl")).mode & 0o007).toBe(0);
});
