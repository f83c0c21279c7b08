// SPDX-License-Identifier: Apache-2.0
import { ShuntError } from "../../util/shunt-error.ts";

/** A flag or variable of `istio-iptables` that can't be used: names it, its value, and what is allowed. Status 1. */
export class FlagError extends ShuntError<"ERR_CLI_ISTIO_FLAG"> {
  constructor(message: string, options?: ErrorOptions) {
    super("ERR_CLI_ISTIO_FLAG", message, options);
  }
}
