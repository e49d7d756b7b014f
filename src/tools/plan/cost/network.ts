/**
 * Time of collectives. Bandwidths are for one direction and one device. Only the bandwidth of the network is for a
 * node: its devices share it, because all of them send at once in a training.
 *
 * An all-reduce between nodes is hierarchical, like NCCL's in effect: a reduce-scatter inside the node, a ring between
 * the nodes for each device's share, and an all-gather inside the node. In a ring, 2·(n − 1)/n of the bytes pass
 * through every device (Thakur, Rabenseifner & Gropp 2005). Bytes pass in chunks, so that both kinds of links work at
 * the same time and the slower one determines the time; `network.test.ts` compares it with published measurements.
 */
import type { Cluster } from '../inputs/cluster.ts'

/** A group of `size` ranks, `perNode` of them on each node. */
export interface Group {
  readonly size: number
  readonly perNode: number
}

/**
 * A group of `size` ranks, which are `stride` devices apart. Groups that do not fill nodes evenly straddle them, some
 * more than others; all groups wait for the group with the fewest ranks on a node.
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
  const latency = (perNode - 1) * node.latency + Math.ceil(Math.log2(nodes)) * network.latency
  const inside = ((perNode - 1) / perNode) * (bytes / nodeShare(cluster))
  const between = nodes <= 1 ? 0 : ((nodes - 1) / nodes) * (bytes / perNode / networkShare(cluster))
  return Math.max(inside, between) + latency
}

/** The way in which rows travel to the experts of a token. */
export interface Dispatch {
  /** Number of experts of a token. */
  readonly copies: number
  /** Whether a row crosses the network once for all experts of a node. */
  readonly oncePerNode: boolean
  /** Largest number of nodes with experts of a token. */
  readonly nodeLimit: number
}

/** A dispatch in which every copy travels by itself, to any node. */
export const copyByCopy: Dispatch = { copies: 1, oncePerNode: false, nodeLimit: Number.POSITIVE_INFINITY }

/**
 * Share of the bytes of all copies that cross the network, if the experts of a token are on every node with equal
 * chances. On average, k copies are for n·(1 − (1 − 1/n)^k) of n nodes (the expected number of occupied places), but at
 * most for the limit; a share 1/n of these is the node of the token itself.
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
  // Messages are pipelined, but each has a cost: `MESSAGES_AT_ONCE` of them take one latency.
  const messages = (count: number, latency: number) => (count > 0 ? latency * (1 + count / MESSAGES_AT_ONCE) : 0)
  const remote = dispatch.oncePerNode ? size / perNode - 1 : size - perNode
  const sent = bytes / cluster.dispatchEfficiency
  return Math.max(
    (inside * sent) / nodeShare(cluster) + messages(perNode - 1, node.latency),
    (outside * sent) / networkShare(cluster) + messages(remote, network.latency),
  )
}

/** Number of messages of an all-to-all that are sent within one latency. */
const MESSAGES_AT_ONCE = 16

/**
 * Seconds to send `bytes` to the next pipeline stage over the slowest boundary, which is between nodes unless all
 * stages share a node.
 * @param devices number of devices of all stages together
 */
export function sendSeconds(cluster: Cluster, devices: number, bytes: number): number {
  const { node, network } = cluster.links
  return devices <= cluster.devicesPerNode
    ? bytes / nodeShare(cluster) + node.latency
    : bytes / networkShare(cluster) + network.latency
}

/**
 * Seconds in which every rank of a context-parallel group gets `bytes` of keys and values from the others. They are
 * passed on from neighbour to neighbour in a ring, which is as fast as its slowest link.
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
