/**
 * The time of a step outside its micro-batches: exchange of gradients, gathering of weights (ZeRO), optimizer and
 * offloading, with the part that micro-batches hide.
 */
import type { Cluster } from '../inputs/cluster.ts'
import { expertCopies, type Layout, shardsOf, tokenRanks } from '../inputs/layout.ts'
import { isFsdp, optimizerOf, type PlannedRun, storedBytes } from '../inputs/settings.ts'
import { addCounts, type PartCounts } from '../work/parameter-counts.ts'
import { copiedBytes, gatherings as fsdpGatherings, reductions } from './fsdp.ts'
import type { MicroBatch } from './micro-batch.ts'
import { allReduceSeconds, groupOf, reduceScatterSeconds } from './network.ts'
import { ownerLoad, ownerSeconds } from './owners.ts'
import { gatheredBytes, gradientBytes, stateBytes } from './state.ts'
import { hide } from './time-kinds.ts'

export interface ReceivedGradients {
  readonly bytes: number
  /** The busiest rank, from 0; absent if collectives give all ranks of a stage equally many. */
  readonly rank?: number
}

/** Costs of a step outside micro-batches: exchange of gradients, gathering of weights (ZeRO), optimizer, offloading. */
export function stepEnd(
  run: PlannedRun,
  cluster: Cluster,
  layout: Layout,
  own: readonly PartCounts[],
  layers: number,
  { forward, backward, hosted: activationSeconds }: MicroBatch,
) {
  const { expert, tensor, expertTensor, zero, microBatches } = layout
  const { dense, experts } = addCounts(own)
  const local = { dense: dense.parameters / tensor, experts: experts.parameters / expertTensor / expert }
  const copies = { dense: tokenRanks(layout), experts: expertCopies(layout) }
  const shards = zero >= 1 ? shardsOf(run, layout) : { dense: 1, experts: 1 }
  const stride = { dense: tensor, experts: expertTensor * expert }
  // Dense gradients are summed over all ranks with other tokens, gradients of an expert over the ranks that hold it.
  const sharding = (part: keyof typeof local) => groupOf(cluster, shards[part], stride[part])
  const replicas = (part: keyof typeof local) =>
    groupOf(cluster, copies[part] / shards[part], stride[part] * shards[part])
  const both = (seconds: (part: keyof typeof local) => number) => seconds('dense') + seconds('experts')
  const gradient = gradientBytes(run)
  const weight = storedBytes(run.plan.precision)
  const gathered = {
    dense: gatheredBytes(run, dense) / tensor,
    experts: gatheredBytes(run, experts) / expertTensor / expert,
  }
  // Sharded gradients are exchanged for every micro-batch, whole gradients once a step.
  const fsdp = isFsdp(run)
  const rounds = fsdp ? reductions(layout) : zero >= 2 ? microBatches : 1
  const owners = run.plan.exchange === 'owners' && zero > 0 ? ownerLoad(run, layout, cluster) : null
  // Groups with copies of each other add up the shards of gradients.
  const collectiveSeconds = both(
    (part) =>
      reduceScatterSeconds(cluster, sharding(part), local[part] * gradient) +
      allReduceSeconds(cluster, replicas(part), (local[part] / shards[part]) * gradient),
  )
  const exchangeSeconds = owners ? ownerSeconds(cluster, owners, gradient) : collectiveSeconds
  const gatherSeconds = owners
    ? ownerSeconds(cluster, owners, weight)
    : both((part) => reduceScatterSeconds(cluster, sharding(part), gathered[part]))
  // ZeRO 1 and 2 gather the updated weights once a step, ZeRO 3 gathers all weights forward and backward.
  const gatherings = fsdp ? fsdpGatherings(layout, own, layers) : zero === 3 ? 2 * microBatches : zero > 0 ? 1 : 0
  const { overlap } = run.plan
  const exchange = hide(rounds * exchangeSeconds, overlap * rounds * backward)
  const computed = zero === 3 ? microBatches * (forward + backward) : forward
  const available = Math.max(0, overlap * computed - (zero === 3 ? exchange.hidden : 0))
  const gathering = hide(gatherings * gatherSeconds, available)
  const copied = fsdp ? copiedBytes(run) : { gathered: 0, reduced: 0 }
  const copySeconds = (bytes: number) =>
    (bytes * both((part) => local[part])) / (cluster.device.bandwidth * cluster.device.bandwidthEfficiency)
  const copying = { gathered: gatherings * copySeconds(copied.gathered), reduced: rounds * copySeconds(copied.reduced) }

  const updated = { dense: local.dense / shards.dense, experts: local.experts / shards.experts }
  const state = stateBytes(run, layout, { dense, experts })
  const count = both((part) => updated[part]) * (owners?.imbalance ?? 1)
  // The state is read and written, gradients are read (once more for their norm), weights are written.
  // Clipping reads and writes FSDP's gradients once more by itself, and its weights are the originals.
  const traffic =
    2 * state.optimizer * (owners?.imbalance ?? 1) +
    (fsdp ? 2 * state.weights + 4 * state.gradients : count * (2 * gradient + 2 * weight)) +
    adafactorPasses(run) * count * gradient
  const { optimizer, traffic: hosted } = updateSeconds(run, cluster, layout, {
    traffic,
    count,
    local: local.dense + local.experts,
    weights: gathered.dense + gathered.experts,
  })
  // Weights and gradients are transferred while layers are computed; an offloaded update waits for its gradients.
  const offload = hide(
    hosted,
    layout.offload === 'all' ? Math.max(0, microBatches * (overlap * (forward + backward) - activationSeconds)) : 0,
  )
  // In a ring, (n − 1)/n of the bytes reach every rank, and once more if all get the sum.
  const collectiveBytes = both((part) => ((copies[part] - 1) / copies[part]) * local[part] * gradient)
  const gradients: ReceivedGradients = owners
    ? { bytes: owners.received * gradient, rank: owners.rank }
    : { bytes: rounds * (zero >= 1 ? 1 : 2) * collectiveBytes }
  const exposed = { exchange: exchange.exposed + copying.reduced, gathering: gathering.exposed + copying.gathered }
  return {
    exchange: { ...exchange, exposed: exposed.exchange },
    gathering: { ...gathering, exposed: exposed.gathering },
    gradients,
    optimizer,
    offload,
    total: exposed.exchange + exposed.gathering + optimizer + offload.exposed,
  }
}

/**
 * Passes over gradients that Adafactor makes before the update: for row and column means, and for the update's size.
 */
const adafactorPasses = (run: PlannedRun): number => (optimizerOf(run) === 'adafactor' ? 2 : 0)

/** Seconds of the update, on the device or on the host, and of the traffic between the two. */
function updateSeconds(
  run: PlannedRun,
  cluster: Cluster,
  { offload, microBatches }: Layout,
  { traffic, count, local, weights }: { traffic: number; count: number; local: number; weights: number },
): { optimizer: number; traffic: number } {
  const { host } = cluster.links
  if (offload === 'none' || !host) {
    const { bandwidth, updateEfficiency } = cluster.device
    return { optimizer: traffic / (bandwidth * updateEfficiency), traffic: 0 }
  }
  const link = host.bandwidth * host.efficiency
  const weight = storedBytes(run.plan.precision)
  // A device's share of the host's memory bandwidth is assumed to equal the bandwidth of its link.
  const update = traffic / link
  if (offload === 'optimizer') return { optimizer: update, traffic: (count * (gradientBytes(run) + weight)) / link }
  return { optimizer: update, traffic: (microBatches * (2 * weights + local * gradientBytes(run))) / link }
}
