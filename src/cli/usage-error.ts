// SPDX-License-Identifier: Apache-2.0
import { ShuntError } from "../util/shunt-error.ts";

/** The command line itself is wrong; one line that names flag and value. Status 2. */
export class UsageError extends ShuntError<"ERR_CLI_USAGE"> {
  constructor(message: string, options?: ErrorOptions) {
    super("ERR_CLI_USAGE", message, options);
  }
}
