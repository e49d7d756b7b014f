/**
 * Groups and sorts metrics by the question that they answer, in the order in which somebody who trains asks: how good is
 * the model, how are tokens routed, how fast is it, what does the optimizer do. Other metrics are grouped by prefix.
 */

export interface MetricGroup {
  readonly name: string
  readonly metrics: readonly string[]
}

/** Metrics by the last part of their names, each group in order. */
const themes: Readonly<Record<string, readonly string[]>> = {
  loss: ['loss', 'bits_per_byte'],
  routing: [
    'drop_rate',
    'load_cv',
    'load_cv_kept',
    'dead_experts',
    'unserved_rate',
    'max_over_mean',
    'gate_entropy',
    'aux_loss',
    'z_loss',
  ],
  speed: ['tokens_per_second', 'step_ms', 'mfu'],
  optimizer: ['learning_rate', 'grad_norm'],
}
/** Held-out loss decides between runs. */
const firstMetrics = ['eval/loss', 'train/loss', 'eval/bits_per_byte']
const firstPrefixes = ['train', 'eval']

/** The part before the last slash; `other` without a slash. */
export const prefixOf = (metric: string): string => {
  const slash = metric.lastIndexOf('/')
  return slash < 0 ? 'other' : metric.slice(0, slash)
}
export const shortName = (metric: string): string => metric.slice(metric.lastIndexOf('/') + 1)

const rank = (first: readonly string[], name: string) => (first.includes(name) ? first.indexOf(name) : first.length)

const groupOf = (metric: string): string =>
  Object.entries(themes).find(([, names]) => names.includes(shortName(metric)))?.[0] ?? prefixOf(metric)

/** Pinned metrics form a group of their own, in the order of pinning. */
export function groupsOf(metrics: Iterable<string>, pinned: readonly string[], search: string): readonly MetricGroup[] {
  const words = search.toLowerCase().split(/\s+/)
  const found = [...new Set(metrics)].filter((metric) => words.every((word) => metric.toLowerCase().includes(word)))
  const groups = new Map<string, string[]>()
  for (const metric of found) {
    if (pinned.includes(metric)) continue
    const group = groups.get(groupOf(metric))
    if (group) group.push(metric)
    else groups.set(groupOf(metric), [metric])
  }
  const order = [...Object.keys(themes), ...firstPrefixes]
  const ordered = [...groups]
    .sort(([one], [other]) => rank(order, one) - rank(order, other) || one.localeCompare(other))
    .map(([name, names]) => ({ name, metrics: names.sort(inOrderOf(themes[name] ?? [])) }))
  const onTop = pinned.filter((metric) => found.includes(metric))
  return onTop.length > 0 ? [{ name: 'pinned', metrics: onTop }, ...ordered] : ordered
}

/** The most important first; then all of training before all evaluations. */
const inOrderOf = (names: readonly string[]) => (one: string, other: string) =>
  rank(firstMetrics, one) - rank(firstMetrics, other) ||
  rank(firstPrefixes, prefixOf(one)) - rank(firstPrefixes, prefixOf(other)) ||
  rank(names, shortName(one)) - rank(names, shortName(other)) ||
  one.localeCompare(other)
