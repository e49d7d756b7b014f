/**
 * Exchange through owners, as the ranks of `choir train` do it (`src/train/step/store/placement.ts`): each part of a
 * tensor has one owner, which receives its gradient from every rank that holds the part, updates it, and sends the new
 * parameters back. A collective divides every tensor evenly instead. With AdamW the parts are blocks of rows, and owners
 * get nearly equally many; with other optimizers they are whole matrices, and relays add the gradients of large ones.
 */
import type { ModelConfig } from '../../../core/model/config.ts'
import {
  alone,
  blockFloatsOf,
  gradientFlows,
  heldSpecs,
  type Layout as Placement,
  type Share,
  sharesOf,
} from '../../../train/step/store/placement.ts'
import type { Cluster } from '../inputs/cluster.ts'
import type { Layout } from '../inputs/layout.ts'
import { optimizerOf, type PlannedRun } from '../inputs/settings.ts'
import { plannedSpecs } from '../work/planned-model.ts'

/** Numbers of parameters; gradients take one way, and new parameters the other. */
interface OwnerLoad {
  /** The rank that receives gradients of most parameters, counted once for each rank that sends them. */
  readonly rank: number
  readonly received: number
  /** The most that a rank receives from its own node. */
  readonly fromNode: number
  /** The most that the ranks of a node together receive from, or send to, other nodes. */
  readonly acrossNodes: number
  /** Number of ranks that send to the busiest rank. */
  readonly senders: number
  /** The most parameters that a rank owns, divided by the mean. */
  readonly imbalance: number
}

const cache = new WeakMap<ModelConfig, Map<string, OwnerLoad>>()

/** @param layout a layout without tensor, pipeline or context parallelism */
export function ownerLoad(run: PlannedRun, { data, expert }: Layout, { devicesPerNode }: Cluster): OwnerLoad {
  const kind = optimizerOf(run)
  const key = `${kind} ${data} ${expert} ${devicesPerNode} ${JSON.stringify(run.plan.latent)}`
  const known = cache.get(run.model) ?? new Map<string, OwnerLoad>()
  cache.set(run.model, known)
  const load =
    known.get(key) ?? computed(run, { ...alone, ranks: data, expert, blockFloats: blockFloatsOf(kind) }, devicesPerNode)
  known.set(key, load)
  return load
}

function computed({ model, plan }: PlannedRun, placement: Placement, devicesPerNode: number): OwnerLoad {
  const { ranks } = placement
  const received = new Float64Array(ranks)
  const fromNode = new Float64Array(ranks)
  const owned = new Float64Array(ranks)
  const nodes = Math.ceil(ranks / devicesPerNode)
  const [into, outOf] = [new Float64Array(nodes), new Float64Array(nodes)]
  const add = (array: Float64Array, index: number, amount: number) => {
    array[index] = (array[index] ?? 0) + amount
  }
  const nodeOf = (rank: number) => Math.floor(rank / devicesPerNode)
  for (const share of allShares(plannedSpecs(model, plan.latent), placement)) {
    add(owned, share.owner, share.floats)
    for (const { from, to, floats } of gradientFlows(share)) {
      add(received, to, floats)
      if (nodeOf(from) === nodeOf(to)) add(fromNode, to, floats)
      else {
        add(into, nodeOf(to), floats)
        add(outOf, nodeOf(from), floats)
      }
    }
  }
  const most = Math.max(...received)
  const total = owned.reduce((sum, each) => sum + each, 0)
  return {
    rank: received.indexOf(most),
    received: most,
    fromNode: Math.max(...fromNode),
    acrossNodes: Math.max(...into, ...outOf),
    senders: most > 0 ? ranks - 1 : 0,
    imbalance: (Math.max(...owned) * ranks) / total,
  }
}

/** The shares of all ranks, each once. Experts have other owners on each rank of an expert group. */
function allShares(specs: ReturnType<typeof plannedSpecs>, placement: Placement): Share[] {
  const of = (stacked: boolean, rank: number) => {
    const place = { ...placement, rank }
    return sharesOf(
      heldSpecs(
        specs.filter((spec) => spec.stacked === stacked),
        place,
      ),
      place,
    )
  }
  return [...of(false, 0), ...Array.from({ length: placement.expert }, (_, rank) => of(true, rank)).flat()]
}

/**
 * Seconds in which all owners receive gradients of `bytes` a parameter; new parameters travel back in the same time. The
 * ranks of a node share its network, but the busiest rank may use all of it.
 */
export function ownerSeconds({ links: { node, network } }: Cluster, load: OwnerLoad, bytes: number): number {
  if (load.senders === 0) return 0
  const inside = (load.fromNode * bytes) / (node.bandwidth * node.efficiency)
  const outside = (load.acrossNodes * bytes * network.oversubscription) / (network.bandwidth * network.efficiency)
  return outside > 0 ? Math.max(inside, outside) + network.latency : inside + node.latency
}
