// SPDX-License-Identifier: Apache-2.0
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** Directory of the built objects: `bpf/build` beside `src` or `dist`. */
export const BPF_OBJECTS = join(dirname(fileURLToPath(import.meta.url)), "../../bpf/build");
