// SPDX-License-Identifier: Apache-2.0
// First import of every entry script. Written so that any Node with ES modules can parse it and the
// files it is imported beside.

export const minimumNode = "20.19.0";

/**
 * @param {string} version such as "20.19.0"
 * @param {string} minimum
 */
export function isAtLeast(version, minimum) {
  const a = version.split(".").map(Number);
  const b = minimum.split(".").map(Number);
  for (let i = 0; i < b.length; i++) if ((a[i] || 0) !== (b[i] || 0)) return (a[i] || 0) > (b[i] || 0);
  return true;
}

if (!isAtLeast(process.versions.node, minimumNode)) {
  process.stderr.write(
    `Node ${process.versions.node} (${process.execPath}) is too old: Shunt needs Node ${minimumNode} or newer from any source, and nothing of it works with this one\n`,
  );
  process.exit(69);
}
