// SPDX-License-Identifier: Apache-2.0
/** Acts on a back-end of the built program: apply-rules.mjs BACKEND ACTION ARGUMENT, where the spec or [path, name] is JSON. */
const [name, action, argument = "null"] = process.argv.slice(2);
const { [`${name}Backend`]: backend } = await import(
  new URL(`../../../dist/intercept/${name}/backend.js`, import.meta.url).href
);
const given = JSON.parse(argument);
const result = action === "remove" ? await backend.remove(given[0], given[1]) : await backend.apply(given);
process.stdout.write(`${JSON.stringify(result)}\n`);
