/**
 * Rates and latencies of links from measured collectives. The model of `cost/network.ts` is linear in both: a test takes
 * x / rate + y · latency, where x are bytes that pass a link and y latencies in a row. The cost functions themselves
 * give x and y, by links of which all but one constant cost nothing. The two constants are then those with the least
 * squares of relative errors.
 *
 * A rate between nodes belongs to a whole node, and inside a node all devices share switches. So a rate counts only if
 * the test ran on all devices of a node; otherwise the test gives a latency.
 */
import { median } from '../../../core/averages.ts'
import { allReduceSeconds, allToAllSeconds, type Group, reduceScatterSeconds, sendSeconds } from '../cost/network.ts'
import type { Calibrated, Cluster } from '../inputs/cluster.ts'
import type { CollectiveKind, MeasuredCollective, Sample } from './collectives.ts'

export type LinkName = 'node' | 'network'

type SecondsOf = (cluster: Cluster, group: Group, bytes: number) => number

const sendReceive: SecondsOf = (cluster, { size, perNode }, bytes) =>
  sendSeconds(cluster, size > perNode ? Number.POSITIVE_INFINITY : 1, bytes)

const secondsOf: Readonly<Record<CollectiveKind, SecondsOf>> = {
  'all-reduce': allReduceSeconds,
  'all-gather': reduceScatterSeconds,
  'reduce-scatter': reduceScatterSeconds,
  'all-to-all': allToAllSeconds,
  'send-receive': sendReceive,
  bandwidth: sendReceive,
}

const groupOf = ({ ranks: { nodes, perNode } }: MeasuredCollective): Group => ({ size: nodes * perNode, perNode })

/** Seconds that a cluster is predicted to need for a measured size. */
const predictedSeconds = (cluster: Cluster, run: MeasuredCollective, { bytes }: Sample): number =>
  secondsOf[run.kind](cluster, groupOf(run), bytes)

const linkOf = ({ ranks }: MeasuredCollective): LinkName => (ranks.nodes > 1 ? 'network' : 'node')

interface Term {
  /** Bytes over the rate of the link. */
  readonly bytes: number
  readonly latencies: number
  readonly seconds: number
}

const free = { bandwidth: Number.POSITIVE_INFINITY, latency: 0, efficiency: 1 }

/** The cluster with links that cost nothing but for the given constants of one. */
function only(cluster: Cluster, link: LinkName, over: Partial<typeof free>): Cluster {
  const { host } = cluster.links
  const links = { node: free, network: { ...free, oversubscription: 1 }, ...(host && { host }) }
  return { ...cluster, dispatchEfficiency: 1, links: { ...links, [link]: { ...links[link], ...over } } }
}

function termsOf(cluster: Cluster, link: LinkName, run: MeasuredCollective): Term[] {
  const group = groupOf(run)
  const seconds = secondsOf[run.kind]
  // Between nodes, latencies inside a node come first.
  const before =
    link === 'network' ? seconds(only(cluster, 'node', { latency: cluster.links.node.latency }), group, 0) : 0
  return run.samples.map((sample) => ({
    bytes: seconds(only(cluster, link, { bandwidth: 1 }), group, sample.bytes),
    latencies: run.kind === 'bandwidth' ? 0 : seconds(only(cluster, link, { latency: 1 }), group, sample.bytes),
    seconds: Math.max(sample.seconds - before, sample.seconds / 2),
  }))
}

/**
 * The line seconds = bytes · slope + latencies · latency with the least squares of relative errors. A latency that is
 * given is kept. Neither is below zero.
 */
function fitLine(terms: readonly Term[], given?: number): { slope: number; latency: number } {
  const sum = (of: (term: Term) => number) => terms.reduce((all, term) => all + of(term) / term.seconds ** 2, 0)
  const [xx, yy, xy] = [sum((t) => t.bytes ** 2), sum((t) => t.latencies ** 2), sum((t) => t.bytes * t.latencies)]
  const [xt, yt] = [sum((t) => t.bytes * t.seconds), sum((t) => t.latencies * t.seconds)]
  const determinant = xx * yy - xy ** 2
  const latency = given ?? (determinant > 1e-9 * xx * yy ? (yt * xx - xt * xy) / determinant : 0)
  if (latency < 0) return fitLine(terms, 0)
  return { slope: Math.max(0, (xt - latency * xy) / xx), latency }
}

/** Share of some time that a constant must have to be learnt from a test: large messages alone show no latency. */
const SEEN = 0.5

/** Bytes a second that a device reaches inside a node, and a node between nodes. */
const rateOf = ({ links }: Cluster, link: LinkName): number =>
  (links[link].bandwidth * links[link].efficiency) / (link === 'network' ? links.network.oversubscription : 1)

function withRate(cluster: Cluster, link: LinkName, rate: number): Cluster {
  const efficiency = (cluster.links[link].efficiency * rate) / rateOf(cluster, link)
  return { ...cluster, links: { ...cluster.links, [link]: { ...cluster.links[link], efficiency } } }
}

const withLatency = (cluster: Cluster, link: LinkName, latency: number): Cluster => ({
  ...cluster,
  links: { ...cluster.links, [link]: { ...cluster.links[link], latency } },
})

interface Learnt {
  readonly rate?: number
  readonly latency?: number
}

function learn(cluster: Cluster, link: LinkName, runs: readonly MeasuredCollective[]): Learnt {
  const terms = runs.flatMap((run) => termsOf(cluster, link, run))
  const both = fitLine(terms)
  const seesLatency = terms.some((term) => term.latencies * both.latency >= SEEN * term.seconds)
  const { slope } = seesLatency ? both : fitLine(terms, Math.min(cluster.links[link].latency, shortest(terms)))
  const seesRate = terms.some((term) => term.bytes * slope >= SEEN * term.seconds)
  return { ...(seesRate && { rate: 1 / slope }), ...(seesLatency && { latency: both.latency }) }
}

/** The largest latency with which no time would be shorter than its latencies alone. */
const shortest = (terms: readonly Term[]): number =>
  Math.min(...terms.map(({ latencies, seconds }) => (latencies > 0 ? seconds / latencies : Number.POSITIVE_INFINITY)))

/** Whether all devices of a node sent over the link. In a ring of sends, one rank of a node sends to the next node. */
function isWhole(
  { devices, devicesPerNode }: Cluster,
  { kind, ranks: { nodes, perNode } }: MeasuredCollective,
): boolean {
  if (nodes > 1) return (kind === 'send-receive' || kind === 'bandwidth' ? 1 : perNode) === devicesPerNode
  return perNode >= Math.min(devices, devicesPerNode)
}

/** Measurements of a kind set constants before the measurements of later kinds. */
const kinds: readonly (readonly CollectiveKind[])[] = [
  ['all-reduce', 'all-gather', 'reduce-scatter'],
  ['send-receive'],
  ['bandwidth'],
  ['all-to-all'],
]

/** The cluster with rates and latencies of its links as measured, what they replaced, and the files that say something. */
export function calibrateLinks(
  cluster: Cluster,
  runs: readonly MeasuredCollective[],
): { cluster: Cluster; calibrated: Calibrated[]; useful: ReadonlySet<string> } {
  let now = cluster
  const useful = new Set<string>()
  const set = new Map<string, { before: number; after: number; runs: readonly MeasuredCollective[] }>()
  const note = (field: string, before: number, after: number, by: readonly MeasuredCollective[]) =>
    set.set(field, { before: set.get(field)?.before ?? before, after, runs: [...(set.get(field)?.runs ?? []), ...by] })
  for (const link of ['node', 'network'] as const)
    for (const group of kinds) {
      const own = runs.filter((run) => linkOf(run) === link && group.includes(run.kind))
      if (own.length === 0) continue
      const whole = own.filter((run) => isWhole(cluster, run))
      const used = whole.length > 0 ? whole : own
      const learnt = learn(now, link, used)
      if (learnt.latency !== undefined || (learnt.rate !== undefined && whole.length > 0))
        for (const { file } of used) useful.add(file)
      const latencyField = `links.${link}.latency`
      const rateField = group.includes('all-to-all') ? 'dispatchEfficiency' : `links.${link}.rate`
      if (learnt.latency !== undefined && !set.has(latencyField)) {
        note(latencyField, now.links[link].latency, learnt.latency, used)
        now = withLatency(now, link, learnt.latency)
      }
      if (learnt.rate === undefined || whole.length === 0) continue
      // An all-to-all shares the rate of the link with other collectives but for a factor, in which the network wins.
      if (rateField === 'dispatchEfficiency') {
        const share = learnt.rate / rateOf(now, link)
        note(rateField, now.dispatchEfficiency, share, used)
        now = { ...now, dispatchEfficiency: share }
      } else if (!set.has(rateField)) {
        note(rateField, rateOf(now, link), learnt.rate, used)
        now = withRate(now, link, learnt.rate)
      }
    }
  const calibrated = [...set].map(([field, { before, after, runs: used }]) => {
    const errors = used.flatMap((run) =>
      run.samples.map((sample) => Math.abs(predictedSeconds(now, run, sample) / sample.seconds - 1)),
    )
    const files = [...new Set(used.map(({ file }) => file))]
    return { field, before, after, files, times: errors.length, error: median(errors) }
  })
  return { cluster: now, calibrated, useful }
}
