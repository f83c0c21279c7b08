// SPDX-License-Identifier: Apache-2.0
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";
import { BpfObject } from "../../../src/bpf/bpf-object.ts";

/** The second is for kernels that refuse the first; this one has to take both, or it would never be tried here. */
it.each(["accelerate", "accelerate-before-6.2"])("the kernel takes %s", (name) => {
  using object = BpfObject.open(fileURLToPath(new URL(`../../../bpf/build/${name}.bpf.o`, import.meta.url)));
  object.load();
  expect(object.program("steer").fd).toBeGreaterThan(0);
});
