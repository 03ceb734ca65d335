/**
 * Prometheus' text format, version 0.0.4, as the edge and the agents write it: each family described once, however many
 * samples it has. Knows no metric.
 */

export type Labels = Readonly<Record<string, string>>;

export interface HistogramFigures {
  readonly buckets: readonly (readonly [leSeconds: number, count: number])[];
  readonly count: number;
  readonly sumSeconds: number;
}

export const metricsContentType = 'text/plain; version=0.0.4; charset=utf-8';

const escaped = (value: string): string =>
  value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');

export class MetricsPage {
  readonly #families = new Map<string, string[]>();

  gauge(name: string, help: string, labels: Labels, value: number): void {
    this.#add('gauge', name, help, labels, value);
  }

  counter(name: string, help: string, labels: Labels, value: number): void {
    this.#add('counter', name, help, labels, value);
  }

  /** Of times, each bucket with all below it. */
  histogram(name: string, help: string, labels: Labels, figures: HistogramFigures): void {
    const { buckets, count, sumSeconds } = figures;
    const samples = [
      ...buckets.map(([le, below]) => [`${name}_bucket`, { ...labels, le: String(le) }, below] as const),
      [`${name}_bucket`, { ...labels, le: '+Inf' }, count] as const,
      [`${name}_sum`, labels, sumSeconds] as const,
      [`${name}_count`, labels, count] as const,
    ];
    for (const [sample, sampleLabels, value] of samples) {
      this.#add('histogram', name, help, sampleLabels, value, sample);
    }
  }

  get text(): string {
    return `${[...this.#families.values()].flat().join('\n')}\n`;
  }

  #add(type: string, name: string, help: string, labels: Labels, value: number, sample = name): void {
    const lines = this.#families.get(name) ?? [`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`];
    const shown = Object.entries(labels).map(([label, text]) => `${label}="${escaped(text)}"`);
    lines.push(`${sample}{${shown.join(',')}} ${value}`);
    this.#families.set(name, lines);
  }
}
