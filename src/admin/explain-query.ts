// SPDX-License-Identifier: Apache-2.0
import type { ExplainQuery } from "../config/formats/explanation.ts";
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
  const source = parameters.get("source");
  return {
    workload: required(parameters, "workload"),
    direction,
    address: address(parameters, "address"),
    port: Number(port),
    ...(source === null ? {} : { source: address(parameters, "source") }),
  };
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
