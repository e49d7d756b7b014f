/**
 * How long collectives take. Bandwidths are those of one direction for each device; the network's is the node's,
 * shared by its devices, because in a training all of them send at once.
 *
 * All-reduce between nodes is hierarchical, as NCCL's is in effect: reduce-scatter inside the node, a ring
 * between the nodes for each device's share, all-gather inside the node (Thakur, Rabenseifner & Gropp 2005 for
 * the rings: 2·(n − 1)/n of the bytes pass through every device).
 */
import type { Cluster } from '../inputs/cluster.ts'

/** Ranks that take part, `perNode` of them in each node. */
export interface Group {
  readonly size: number
  readonly perNode: number
}

/**
 * `size` ranks of which each is `stride` devices after the one before. Groups that do not fill nodes evenly straddle
 * them, some more than others: all wait for those that have the fewest ranks in a node.
 */
export function groupOf(cluster: Cluster, size: number, stride: number): Group {
  const inNode = Math.min(cluster.devices, cluster.devicesPerNode)
  const perNode = Math.max(1, Math.floor(inNode / stride))
  return { size, perNode: greatestCommonDivisor(size, perNode) }
}

export function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b)
}

/** Bytes a second that a device gets of its node's network, all devices sending. */
function networkShare({ devices, devicesPerNode, links: { network } }: Cluster): number {
  return (network.bandwidth * network.efficiency) / network.oversubscription / Math.min(devices, devicesPerNode)
}

const nodeShare = ({ links: { node } }: Cluster): number => node.bandwidth * node.efficiency

/** Seconds to add up `bytes` of every rank, and give all the sum. */
export function allReduceSeconds(cluster: Cluster, group: Group, bytes: number): number {
  return 2 * reduceScatterSeconds(cluster, group, bytes)
}

/** Seconds until each rank has its share of the sum of `bytes` of every rank; all-gather is the same backwards. */
export function reduceScatterSeconds(cluster: Cluster, { size, perNode }: Group, bytes: number): number {
  if (size <= 1) return 0
  const nodes = size / perNode
  const { node, network } = cluster.links
  const inside = ((perNode - 1) / perNode) * (bytes / nodeShare(cluster)) + (perNode - 1) * node.latency
  if (nodes <= 1) return inside
  const between =
    ((nodes - 1) / nodes) * (bytes / perNode / networkShare(cluster)) + Math.ceil(Math.log2(nodes)) * network.latency
  return inside + between
}

/**
 * Seconds until every rank has sent its part to every other; `bytes` is what the busiest rank sends or receives
 * in all, its own part included. Messages inside a node and between nodes travel at the same time.
 */
export function allToAllSeconds(cluster: Cluster, { size, perNode }: Group, bytes: number): number {
  if (size <= 1) return 0
  const { node, network } = cluster.links
  const inside = (perNode - 1) / size
  const outside = (size - perNode) / size
  // Messages follow each other without waiting for an answer, but each has a cost of its own.
  const messages = (count: number, latency: number) => (count > 0 ? latency * (1 + count / MESSAGES_AT_ONCE) : 0)
  return Math.max(
    (inside * bytes) / nodeShare(cluster) + messages(perNode - 1, node.latency),
    (outside * bytes) / networkShare(cluster) + messages(size - perNode, network.latency),
  )
}

/** Messages of an all-to-all under way in one latency. */
const MESSAGES_AT_ONCE = 16

/** Seconds to hand `bytes` to the next pipeline stage, where the way is longest: between nodes, unless all stages share one. */
export function sendSeconds(cluster: Cluster, devices: number, bytes: number): number {
  const { node, network } = cluster.links
  return devices <= cluster.devicesPerNode
    ? bytes / nodeShare(cluster) + node.latency
    : bytes / networkShare(cluster) + network.latency
}
