/** Counters of the server in the text format of Prometheus. */

type Labels = Readonly<Record<string, string | number>>

/** Upper ends of the buckets of durations, in seconds. */
const BUCKETS = [0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300]

interface Histogram {
  readonly counts: number[]
  sum: number
  count: number
}

export class Metrics {
  private readonly counters = new Map<string, { readonly help: string; readonly values: Map<string, number> }>()
  private readonly histograms = new Map<string, { readonly help: string; readonly values: Map<string, Histogram> }>()
  private readonly gauges: { readonly name: string; readonly help: string; read(): readonly [Labels, number][] }[] = []

  /** Adds to a counter. Its name ends in `_total`. */
  add(name: string, help: string, labels: Labels, amount = 1): void {
    const { values } = emplace(this.counters, name, () => ({ help, values: new Map<string, number>() }))
    const key = formatLabels(labels)
    values.set(key, (values.get(key) ?? 0) + amount)
  }

  /** Adds a duration in seconds to a histogram. */
  observe(name: string, help: string, labels: Labels, seconds: number): void {
    const { values } = emplace(this.histograms, name, () => ({ help, values: new Map<string, Histogram>() }))
    const of = emplace(values, formatLabels(labels), () => ({ counts: BUCKETS.map(() => 0), sum: 0, count: 0 }))
    of.sum += seconds
    of.count++
    for (const [i, end] of BUCKETS.entries()) if (seconds <= end) of.counts[i] = (of.counts[i] as number) + 1
  }

  /** Adds a gauge, which is read when the metrics are. */
  gauge(name: string, help: string, read: () => readonly [Labels, number][]): void {
    this.gauges.push({ name, help, read })
  }

  text(): string {
    const lines: string[] = []
    const begin = (name: string, help: string, type: string) =>
      lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`)
    for (const [name, { help, values }] of this.counters) {
      begin(name, help, 'counter')
      for (const [labels, value] of values) lines.push(`${name}${labels} ${value}`)
    }
    for (const { name, help, read } of this.gauges) {
      begin(name, help, 'gauge')
      for (const [labels, value] of read()) lines.push(`${name}${formatLabels(labels)} ${value}`)
    }
    for (const [name, { help, values }] of this.histograms) {
      begin(name, help, 'histogram')
      for (const [labels, { counts, sum, count }] of values) {
        const bucket = (end: string) => `${name}_bucket${labels.replace(/\}?$/, `${labels ? ',' : '{'}le="${end}"}`)}`
        for (const [i, end] of BUCKETS.entries()) lines.push(`${bucket(String(end))} ${counts[i]}`)
        lines.push(`${bucket('+Inf')} ${count}`, `${name}_sum${labels} ${sum}`, `${name}_count${labels} ${count}`)
      }
    }
    return `${lines.join('\n')}\n`
  }
}

function emplace<K, V>(map: Map<K, V>, key: K, create: () => V): V {
  const found = map.get(key)
  if (found !== undefined) return found
  const created = create()
  map.set(key, created)
  return created
}

function formatLabels(labels: Labels): string {
  const pairs = Object.entries(labels).map(([name, value]) => {
    const text = String(value).replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')
    return `${name}="${text}"`
  })
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`
}
