// SPDX-License-Identifier: Apache-2.0
import { expect, it } from "vitest";
import { Disposables } from "../../../src/util/disposables.ts";

it("ends everything, last come first, and throws the first failure afterwards", () => {
  const ended: number[] = [];
  const end = (n: number) => ({
    [Symbol.dispose]: () => {
      ended.push(n);
      if (n > 1) throw new Error(`failure ${n}`);
    },
  });
  const all = new Disposables();
  for (const n of [1, 2, 3]) all.use(end(n));
  expect(() => all[Symbol.dispose]()).toThrow("failure 3");
  expect(ended).toEqual([3, 2, 1]);
});
