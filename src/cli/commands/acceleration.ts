// SPDX-License-Identifier: Apache-2.0
import type { StatusReport } from "../../config/formats/status.ts";
import { agentAddress, askAgent, tellAgent } from "../admin-client.ts";
import { EXIT } from "../exit-status.ts";
import type { CliIo } from "../io.ts";
import type { Invocation } from "../parse-arguments.ts";
import { UsageError } from "../usage-error.ts";

type Acceleration = StatusReport["acceleration"];

export async function runAcceleration({ options }: Invocation, { signal, stdout }: CliIo): Promise<number> {
  const agent = agentAddress(options);
  if (options.has("--on") && options.has("--off")) throw new UsageError("--on and --off exclude each other");
  const state = options.has("--on") ? "on" : options.has("--off") ? "off" : undefined;
  const now =
    state === undefined
      ? (await askAgent<StatusReport>(agent, "/status", signal)).acceleration
      : await tellAgent<Acceleration>(agent, `/acceleration?state=${state}`, signal);
  stdout.write(
    options.has("--json") ? `${JSON.stringify(now, null, 2)}\n` : `acceleration ${now.state}: ${now.reason}\n`,
  );
  return EXIT.ok;
}
