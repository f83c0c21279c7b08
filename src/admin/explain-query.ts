// SPDX-License-Identifier: Apache-2.0
import type { ExplainQuery } from "../config/formats/explanation.ts";
import { isInterfaceName } from "../config/interface-name.ts";
import { canonicalIp, IpError } from "../util/ip.ts";
import { ShuntError } from "../util/shunt-error.ts";

/** A question that can't be answered as asked; status 400. */
export class BadQueryError extends ShuntError<"ERR_ADMIN_QUERY"> {
  constructor(message: string, options?: ErrorOptions) {
    super("ERR_ADMIN_QUERY", message, options);
  }
}

/** From the query string of /explain; throws a BadQueryError that names parameter and value. */
export function parseExplainQuery(parameters: URLSearchParams): ExplainQuery {
  const direction = required(parameters, "direction");
  if (direction !== "outbound" && direction !== "inbound") {
    throw new BadQueryError(`direction ${JSON.stringify(direction)} is not one of outbound, inbound`);
  }
  const port = required(parameters, "port");
  if (!/^\d{1,5}$/.test(port) || Number(port) > 65_535) {
    throw new BadQueryError(`port ${JSON.stringify(port)} is not a port (0 … 65535)`);
  }
  const transport = parameters.get("transport") ?? "tcp";
  if (transport !== "tcp" && transport !== "udp") {
    throw new BadQueryError(`transport ${JSON.stringify(transport)} is not one of tcp, udp`);
  }
  const source = parameters.get("source");
  return {
    workload: required(parameters, "workload"),
    direction,
    address: address(parameters, "address"),
    port: Number(port),
    transport,
    ...(source === null ? {} : { source: address(parameters, "source") }),
    ...caller(parameters, direction),
    ...interfaceOf(parameters),
  };
}

/** Of what arrives, the process that sent it is not known. */
function caller(parameters: URLSearchParams, direction: "outbound" | "inbound"): Partial<ExplainQuery> {
  const found: { uid?: number; gid?: number; mark?: number } = {};
  for (const name of ["uid", "gid", "mark"] as const) {
    const text = parameters.get(name);
    if (text === null) continue;
    if (direction === "inbound")
      throw new BadQueryError(`${name} ${JSON.stringify(text)} only with direction outbound`);
    const value = /^(\d{1,10}|0x[0-9a-f]{1,8})$/i.test(text) ? Number(text) : Number.NaN;
    // The last number stands for no user and no group (setuid(2)).
    const most = name === "mark" ? 0xffff_ffff : 0xffff_fffe;
    if (!(value <= most)) throw new BadQueryError(`${name} ${JSON.stringify(text)} is not a number (0 … ${most})`);
    found[name] = value;
  }
  return found;
}

function interfaceOf(parameters: URLSearchParams): Pick<ExplainQuery, "interface"> {
  const name = parameters.get("interface");
  if (name === null) return {};
  if (!isInterfaceName(name))
    throw new BadQueryError(`interface ${JSON.stringify(name)} is not a name of an interface`);
  return { interface: name };
}

function required(parameters: URLSearchParams, name: string): string {
  const value = parameters.get(name);
  if (value === null || value === "") throw new BadQueryError(`${name} is missing`);
  return value;
}

function address(parameters: URLSearchParams, name: string): string {
  try {
    return canonicalIp(required(parameters, name));
  } catch (cause) {
    if (!(cause instanceof IpError)) throw cause;
    throw new BadQueryError(`${name} ${cause.message}`, { cause });
  }
}
