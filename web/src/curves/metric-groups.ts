/**
 * Groups and sorts metrics by the question that they answer, in the order in which a user asks: how good is the model,
 * how are tokens routed, how fast is it, what does the optimizer do. Other metrics are grouped by prefix.
 */
import { metricName } from '../../../src/core/text/metrics.ts'

interface MetricGroup {
  readonly name: string
  readonly metrics: readonly string[]
}

/** Groups and their metrics, in order. Held-out loss is first, because it decides between runs. */
const themes: Readonly<Record<string, readonly string[]>> = {
  loss: ['eval/loss', 'train/loss', 'eval/bits_per_byte'],
  routing: [
    'train/drop_rate',
    'train/load_cv',
    'train/load_cv_kept',
    'train/dead_experts',
    'train/unserved_rate',
    'train/gate_mean',
    'train/entropy_share',
    'train/gate_entropy',
    'train/aux_loss',
    'train/z_loss',
    'train/layer_loss',
  ],
  speed: ['train/tokens_per_second', 'train/step_ms', 'train/mfu'],
  optimizer: ['train/learning_rate', 'train/grad_norm'],
}
const firstGroups = [...Object.keys(themes), 'train', 'eval']

/** The part before the last slash; `other` without a slash. */
export const prefixOf = (metric: string): string => {
  const slash = metric.lastIndexOf('/')
  return slash < 0 ? 'other' : metric.slice(0, slash)
}
export const shortName = (metric: string): string => metric.slice(metric.lastIndexOf('/') + 1)

const rank = (first: readonly string[], name: string) => (first.includes(name) ? first.indexOf(name) : first.length)

const groupOf = (metric: string): string =>
  Object.keys(themes).find((name) => themes[name]?.includes(metric)) ?? prefixOf(metric)

/** The text that a search looks in: the tag of a metric and its name. */
const textOf = (metric: string): string => `${metric} ${metricName(metric)}`.toLowerCase()

/** Groups the metrics that match a search. Pinned metrics form a group of their own, in the order of pinning. */
export function groupsOf(metrics: Iterable<string>, pinned: readonly string[], search: string): readonly MetricGroup[] {
  const words = search.toLowerCase().split(/\s+/)
  const found = [...new Set(metrics)].filter((metric) => words.every((word) => textOf(metric).includes(word)))
  const groups = new Map<string, string[]>()
  for (const metric of found) {
    if (pinned.includes(metric)) continue
    const group = groups.get(groupOf(metric))
    if (group) group.push(metric)
    else groups.set(groupOf(metric), [metric])
  }
  const ordered = [...groups]
    .sort(([one], [other]) => rank(firstGroups, one) - rank(firstGroups, other) || one.localeCompare(other))
    .map(([name, names]) => ({ name, metrics: names.sort(inOrderOf(themes[name] ?? [])) }))
  const onTop = pinned.filter((metric) => found.includes(metric))
  return onTop.length > 0 ? [{ name: 'pinned', metrics: onTop }, ...ordered] : ordered
}

const inOrderOf = (names: readonly string[]) => (one: string, other: string) =>
  rank(names, one) - rank(names, other) || one.localeCompare(other)
