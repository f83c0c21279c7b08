// SPDX-License-Identifier: Apache-2.0
import { ShuntError } from "../../util/shunt-error.ts";

/** The test itself can't be made: a port is taken, the connecting process does not start. Says nothing about the rules. */
export class ValidationError extends ShuntError<"ERR_VALIDATE_PORT_BUSY" | "ERR_VALIDATE_CLIENT"> {}
