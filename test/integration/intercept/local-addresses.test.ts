// SPDX-License-Identifier: Apache-2.0
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { BpfObject } from "../../../src/bpf/bpf-object.ts";
import { LocalAddresses } from "../../../src/intercept/ebpf/local-addresses.ts";

let object: BpfObject;
const rows = (): string[] =>
  [...object.map("local_addrs").entries()].map(([key]) => `${key.netns} ${key.address}`).sort();

beforeEach(() => {
  object = BpfObject.open(join(import.meta.dirname, "../../../bpf/build/connect.bpf.o"));
  object.load();
});

afterEach(() => object.close());

it("the addresses of a namespace stay until its last workload has gone", () => {
  const addresses = new LocalAddresses(object.map("local_addrs"));
  const [first, second] = [{}, {}];
  addresses.set(1n, first, ["10.0.0.1", "fd00::1"]);
  addresses.set(1n, second, ["10.0.0.1", "fd00::1"]);
  addresses.set(2n, second, ["10.0.0.2"]);
  addresses.release(1n, first);
  expect(rows()).toEqual(["1 10.0.0.1", "1 fd00::1", "2 10.0.0.2"]);
  addresses.set(1n, second, ["10.0.0.9"]);
  expect(rows()).toEqual(["1 10.0.0.9", "2 10.0.0.2"]);
  addresses.release(1n, second);
  expect(rows()).toEqual(["2 10.0.0.2"]);
});

it("what an earlier process left is replaced, and goes with its namespace", () => {
  new LocalAddresses(object.map("local_addrs")).set(1n, {}, ["10.0.0.1", "10.0.0.2"]);
  new LocalAddresses(object.map("local_addrs")).set(3n, {}, ["10.0.0.3"]);
  const adopted = new LocalAddresses(object.map("local_addrs"));
  adopted.set(1n, {}, ["10.0.0.2", "10.0.0.4"]);
  expect(rows()).toEqual(["1 10.0.0.2", "1 10.0.0.4", "3 10.0.0.3"]);
  adopted.removeOthers();
  expect(rows()).toEqual(["1 10.0.0.2", "1 10.0.0.4"]);
});
