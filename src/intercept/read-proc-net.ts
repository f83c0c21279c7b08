// SPDX-License-Identifier: Apache-2.0
import { closeSync, readFileSync } from "node:fs";
import { constants } from "node:os";
import { loadAddon } from "../native/load-addon.ts";
import { check } from "../native/status.ts";
import type { NetworkNamespace } from "./network-namespace.ts";

/** Text of a file of /proc/net as a namespace has it; empty where the kernel has no such file. */
export function readProcNet(netns: NetworkNamespace, name: string): string {
  const path = `/proc/thread-self/net/${name}`;
  const fd = loadAddon().openInNetns(netns.fd, path);
  // Without IPv6, or before a module is loaded.
  if (fd === -constants.errno.ENOENT) return "";
  check(fd, "open", `${path} in ${netns.path}`);
  try {
    return readFileSync(fd, "latin1");
  } finally {
    closeSync(fd);
  }
}
