// SPDX-License-Identifier: Apache-2.0
/** Questions to a running agent over its unix socket. */
import { readdirSync } from "node:fs";
import { type IncomingMessage, request } from "node:http";
import { adminSocketPath, RUNTIME_FOLDER } from "../config/admin-socket-path.ts";
import { AGENT_DEFAULTS } from "../config/presets.ts";
import { ShuntError } from "../util/shunt-error.ts";
import type { OptionSet } from "./option-set.ts";

export class AdminClientError extends ShuntError<"ERR_ADMIN_UNREACHABLE" | "ERR_ADMIN_REFUSED"> {}

export interface AgentAddress {
  readonly name: string;
  readonly socketPath: string;
}

/** From --name and --socket. */
export function agentAddress(options: OptionSet): AgentAddress {
  const name = options.text("--name") ?? AGENT_DEFAULTS.name;
  return { name, socketPath: options.text("--socket") ?? adminSocketPath(name) };
}

/** The JSON an endpoint answers; throws an AdminClientError with the agent's own words where it refuses. */
export async function askAgent<Answer>(agent: AgentAddress, path: string, signal: AbortSignal): Promise<Answer> {
  let text = "";
  for await (const chunk of await open(agent, path, signal)) text += chunk;
  return JSON.parse(text) as Answer;
}

/** Has the agent change something; its answer, or an AdminClientError as `askAgent`. */
export async function tellAgent<Answer>(agent: AgentAddress, path: string, signal: AbortSignal): Promise<Answer> {
  let text = "";
  for await (const chunk of await open(agent, path, signal, "POST")) text += chunk;
  return JSON.parse(text) as Answer;
}

/** JSON lines as they come, until the agent ends or `signal` aborts. */
export async function* followAgent<Line>(agent: AgentAddress, path: string, signal: AbortSignal): AsyncGenerator<Line> {
  let rest = "";
  try {
    for await (const chunk of await open(agent, path, signal)) {
      const lines = (rest + String(chunk)).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) yield JSON.parse(line) as Line;
    }
  } catch (error) {
    if (!signal.aborted && (error as NodeJS.ErrnoException).code !== "ECONNRESET") throw error;
  }
}

async function open(
  agent: AgentAddress,
  path: string,
  signal: AbortSignal,
  method: "GET" | "POST" = "GET",
): Promise<IncomingMessage> {
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    const { socketPath } = agent;
    const asking = request({ socketPath, path, method, signal, headers: { host: "shunt" } }, resolve);
    asking.once("error", (cause: NodeJS.ErrnoException) => reject(signal.aborted ? cause : unreachable(agent, cause)));
    asking.end();
  });
  response.setEncoding("utf8");
  if (response.statusCode === 200) return response;
  let text = "";
  for await (const chunk of response) text += chunk;
  throw new AdminClientError(
    "ERR_ADMIN_REFUSED",
    text.trim() || `the agent answers ${path} with status ${response.statusCode}`,
  );
}

function unreachable({ name, socketPath }: AgentAddress, cause: NodeJS.ErrnoException): AdminClientError {
  const others = runningAgents().filter((other) => other !== name);
  const hint = others.length === 0 ? "" : `; folders of other agents: ${others.join(", ")}`;
  const why = cause.code === "EACCES" ? "no permission (the socket is its owner's)" : (cause.code ?? cause.message);
  return new AdminClientError("ERR_ADMIN_UNREACHABLE", `no agent ${name} answers on ${socketPath}: ${why}${hint}`, {
    cause,
  });
}

function runningAgents(): string[] {
  try {
    return readdirSync(RUNTIME_FOLDER).filter((name) => !/^(rules-[0-9a-f]{12}$|\.)/.test(name));
  } catch {
    return [];
  }
}
