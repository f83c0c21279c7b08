// SPDX-License-Identifier: Apache-2.0
import { expect, it } from "vitest";
import { notifySystemd, type ServiceState } from "../../../src/util/notify-systemd.ts";

function sent(state: ServiceState, socket: string | undefined): [boolean, string[][]] {
  const datagrams: string[][] = [];
  const environment = socket === undefined ? {} : { NOTIFY_SOCKET: socket };
  return [notifySystemd(state, (path, text) => datagrams.push([path, text]), environment), datagrams];
}

it("sends nothing where no service manager listens", () => {
  expect(sent({ kind: "ready" }, undefined)).toEqual([false, []]);
  expect(sent({ kind: "ready" }, "vsock:2:1")).toEqual([false, []]);
});

it("names an abstract socket with a leading NUL", () => {
  expect(sent({ kind: "stopping" }, "@org/x")).toEqual([true, [["\0org/x", "STOPPING=1\n"]]]);
});

it.each<[ServiceState, string]>([
  [{ kind: "ready" }, "READY=1\n"],
  [{ kind: "ready", status: "2 workloads" }, "READY=1\nSTATUS=2 workloads\n"],
  [{ kind: "reloading", monotonicUs: 5n }, "RELOADING=1\nMONOTONIC_USEC=5\n"],
  [{ kind: "status", status: "a\nREADY=1" }, "STATUS=a READY=1\n"],
])("%o is the datagram %j", (state, text) => {
  expect(sent(state, "/run/n")).toEqual([true, [["/run/n", text]]]);
});
