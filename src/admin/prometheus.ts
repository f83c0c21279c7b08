// SPDX-License-Identifier: Apache-2.0
/**
 * Metrics as Prometheus' text format 0.0.4
 * (prometheus.io/docs/instrumenting/exposition_formats, "Text-based format").
 */

export const PROMETHEUS_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8";

export type MetricType = "counter" | "gauge" | "histogram" | "summary" | "untyped";

export interface MetricSample {
  /** Appended to the family's name: `_bucket`, `_sum`, `_count` of a histogram. */
  readonly suffix?: string;
  readonly labels?: Readonly<Record<string, string | number>>;
  readonly value: number | bigint;
}

export interface MetricFamily {
  /** Counters by convention end in `_total`; units are in the name, as in `_seconds`, `_bytes`. */
  readonly name: string;
  readonly help: string;
  readonly type: MetricType;
  readonly samples: readonly MetricSample[];
}

/** Throws a TypeError for a name the format does not allow: that is a defect, not data. */
export function formatMetrics(families: readonly MetricFamily[]): string {
  return families.map(formatFamily).join("");
}

function formatFamily({ name, help, type, samples }: MetricFamily): string {
  if (!/^[a-zA-Z_:][a-zA-Z0-9_:]*$/.test(name)) throw new TypeError(`${JSON.stringify(name)} is not a metric name`);
  const head = `# HELP ${name} ${escape(help)}\n# TYPE ${name} ${type}\n`;
  return (
    head +
    samples
      .map((sample) => `${name}${sample.suffix ?? ""}${formatLabels(sample.labels)} ${formatValue(sample.value)}\n`)
      .join("")
  );
}

function formatLabels(labels: MetricSample["labels"]): string {
  const entries = Object.entries(labels ?? {});
  if (entries.length === 0) return "";
  const pairs = entries.map(([name, value]) => {
    if (!/^[a-zA-Z_][a-zA-Z0-9_]*$/.test(name)) throw new TypeError(`${JSON.stringify(name)} is not a label name`);
    return `${name}="${escape(String(value)).replaceAll('"', '\\"')}"`;
  });
  return `{${pairs.join(",")}}`;
}

function escape(text: string): string {
  return text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n");
}

function formatValue(value: number | bigint): string {
  if (value === Number.POSITIVE_INFINITY) return "+Inf";
  return value === Number.NEGATIVE_INFINITY ? "-Inf" : String(value);
}
