/** Groups and sorts metrics: the most important first, the rest by name. */

export interface MetricGroup {
  readonly prefix: string
  readonly metrics: readonly string[]
}

const firstMetrics = [
  'loss',
  'bits_per_byte',
  'drop_rate',
  'load_cv',
  'load_cv_kept',
  'dead_experts',
  'unserved_rate',
  'aux_loss',
  'z_loss',
  'grad_norm',
  'learning_rate',
  'tokens_per_second',
  'step_ms',
  'mfu',
]
const firstGroups = ['train', 'eval']

/** The part before the last slash; `other` without a slash. */
export const prefixOf = (metric: string): string => {
  const slash = metric.lastIndexOf('/')
  return slash < 0 ? 'other' : metric.slice(0, slash)
}
export const shortName = (metric: string): string => metric.slice(metric.lastIndexOf('/') + 1)

const rank = (first: readonly string[], name: string) => (first.includes(name) ? first.indexOf(name) : first.length)

/** Pinned metrics form a group of their own, in the order of pinning. */
export function groupsOf(metrics: Iterable<string>, pinned: readonly string[], search: string): readonly MetricGroup[] {
  const words = search.toLowerCase().split(/\s+/)
  const found = [...new Set(metrics)].filter((metric) => words.every((word) => metric.toLowerCase().includes(word)))
  const groups = new Map<string, string[]>()
  for (const metric of found) {
    if (pinned.includes(metric)) continue
    const group = groups.get(prefixOf(metric))
    if (group) group.push(metric)
    else groups.set(prefixOf(metric), [metric])
  }
  const ordered = [...groups]
    .sort(([one], [other]) => rank(firstGroups, one) - rank(firstGroups, other) || one.localeCompare(other))
    .map(([prefix, names]) => ({ prefix, metrics: names.sort(byRank) }))
  const onTop = pinned.filter((metric) => found.includes(metric))
  return onTop.length > 0 ? [{ prefix: 'pinned', metrics: onTop }, ...ordered] : ordered
}

function byRank(one: string, other: string): number {
  return rank(firstMetrics, shortName(one)) - rank(firstMetrics, shortName(other)) || one.localeCompare(other)
}
