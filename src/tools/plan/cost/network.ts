/**
 * Time of collectives. Bandwidths are for one direction and one device; that of the network is for a node, shared
 * by its devices, because all of them send at once in a training.
 *
 * All-reduce between nodes is hierarchical, like NCCL's in effect: reduce-scatter inside the node, a ring between
 * the nodes for each device's share, all-gather inside the node. In a ring, 2·(n − 1)/n of the bytes pass through
 * every device (Thakur, Rabenseifner & Gropp 2005).
 */
import type { Cluster } from '../inputs/cluster.ts'

/** Participating ranks, `perNode` on each node. */
export interface Group {
  readonly size: number
  readonly perNode: number
}

/**
 * A group of `size` ranks, `stride` devices apart. Groups that do not fill nodes evenly straddle them, some more
 * than others; all wait for the group with the fewest ranks on a node.
 */
export function groupOf(cluster: Cluster, size: number, stride: number): Group {
  const inNode = Math.min(cluster.devices, cluster.devicesPerNode)
  const perNode = Math.max(1, Math.floor(inNode / stride))
  return { size, perNode: greatestCommonDivisor(size, perNode) }
}

export function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b)
}

/** A device's share of its node's network, in bytes a second, while all devices send. */
function networkShare({ devices, devicesPerNode, links: { network } }: Cluster): number {
  return (network.bandwidth * network.efficiency) / network.oversubscription / Math.min(devices, devicesPerNode)
}

const nodeShare = ({ links: { node } }: Cluster): number => node.bandwidth * node.efficiency

/** Seconds to sum `bytes` over all ranks and return the sum to each. */
export function allReduceSeconds(cluster: Cluster, group: Group, bytes: number): number {
  return 2 * reduceScatterSeconds(cluster, group, bytes)
}

/** Seconds to sum `bytes` over all ranks and leave each with a share of the sum. An all-gather takes as long. */
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

/** How rows for the experts of a token travel. */
export interface Dispatch {
  /** Experts of a token. */
  readonly copies: number
  /** Whether a row crosses the network once for all experts of a node. */
  readonly oncePerNode: boolean
  /** Nodes with experts of a token, at most. */
  readonly nodeLimit: number
}

/** Every copy travels by itself, to any node. */
export const copyByCopy: Dispatch = { copies: 1, oncePerNode: false, nodeLimit: Number.POSITIVE_INFINITY }

/**
 * Share of the bytes of all copies that cross the network, if the experts of a token are anywhere with equal chances.
 * k copies that travel once for each of n nodes reach n·(1 − (1 − 1/n)^k) nodes on average (the occupied of n places),
 * but at most the limit; one of n is the node of the token itself.
 */
export function networkShareOf(nodes: number, { copies, oncePerNode, nodeLimit }: Dispatch): number {
  const elsewhere = (nodes - 1) / nodes
  if (!oncePerNode) return elsewhere
  const reached = Math.min(nodes * (1 - (1 - 1 / nodes) ** copies), nodeLimit)
  return (reached * elsewhere) / copies
}

/**
 * Seconds of an all-to-all. `bytes` is the total of all copies that the busiest rank sends or receives, its own part
 * included. Messages inside a node and between nodes overlap. Rows that cross the network once for a node are copied
 * inside it.
 */
export function allToAllSeconds(
  cluster: Cluster,
  { size, perNode }: Group,
  bytes: number,
  dispatch: Dispatch = copyByCopy,
): number {
  if (size <= 1) return 0
  const { node, network } = cluster.links
  const inside = dispatch.oncePerNode ? (perNode - 1) / perNode : (perNode - 1) / size
  const outside = networkShareOf(size / perNode, dispatch)
  // Messages are pipelined, but each has a cost.
  const messages = (count: number, latency: number) => (count > 0 ? latency * (1 + count / MESSAGES_AT_ONCE) : 0)
  const remote = dispatch.oncePerNode ? size / perNode - 1 : size - perNode
  const sent = bytes / cluster.dispatchEfficiency
  return Math.max(
    (inside * sent) / nodeShare(cluster) + messages(perNode - 1, node.latency),
    (outside * sent) / networkShare(cluster) + messages(remote, network.latency),
  )
}

/** Messages of an all-to-all sent within one latency. */
const MESSAGES_AT_ONCE = 16

/** Seconds to send `bytes` to the next pipeline stage over the slowest boundary: between nodes, unless all stages share one. */
export function sendSeconds(cluster: Cluster, devices: number, bytes: number): number {
  const { node, network } = cluster.links
  return devices <= cluster.devicesPerNode
    ? bytes / nodeShare(cluster) + node.latency
    : bytes / networkShare(cluster) + network.latency
}

/**
 * Seconds in which every rank of a context-parallel group gets `bytes` of keys and values from the others, passed on
 * from neighbour to neighbour: a ring is as fast as its slowest link.
 */
export function ringSeconds(cluster: Cluster, { size, perNode }: Group, bytes: number): number {
  if (size <= 1) return 0
  const { node, network } = cluster.links
  const slowest =
    size > perNode
      ? { bandwidth: networkShare(cluster) * perNode, latency: network.latency }
      : { bandwidth: nodeShare(cluster), latency: node.latency }
  return bytes / slowest.bandwidth + (size - 1) * slowest.latency
}
