// SPDX-License-Identifier: Apache-2.0
import type { Decision, Question } from "./decision.ts";
import type { InterceptSpec } from "./spec.ts";

/**
 * The object of one back-end that gives a decision: map and key, or chain and rule, in the words of the program that lists
 * them. The decision itself is the same for all of them. Where nothing that is configured decided, what stands in its place.
 */
export type RuleFor = (spec: InterceptSpec, question: Question, decision: Decision) => string;
