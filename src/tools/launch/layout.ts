/**
 * Decides which ranks run on which host, on how many threads and cores. All texts that start a training are written
 * from a layout, so its numbers agree in all of them: threads × ranks of a host fit its physical cores, and ranks fit
 * the slots.
 *
 *     placeRanks({ hosts: [{ name: 'a', slots: 4 }, { name: 'b', slots: 4 }], cores: 8, expert: 4, experts: 16 })
 *     // { hosts: [a with 4 slots, b with 4 slots], ranks: 8, ranksPerHost: 4, threads: 2, bound: true, oversubscribe: false }
 *
 * Ranks fill the slots of one host before the slots of the next. Each rank has the same number of threads, since the
 * order of sums depends on it.
 */
import { type Option, option, UsageError, wording } from '../../core/errors.ts'
import type { Host } from './hosts.ts'

export interface HostSlots extends Host {
  readonly slots: number
}

export interface Layout {
  /** Hosts with their slots; null for this machine, or for the hosts that a batch system allocates. */
  readonly hosts: readonly HostSlots[] | null
  readonly ranks: number
  /** Largest number of ranks on one host. */
  readonly ranksPerHost: number
  /** Threads of each rank. */
  readonly threads: number
  /** Whether each rank has physical cores of its own, one per thread. */
  readonly bound: boolean
  /** Whether there may be more ranks than slots, or more threads than cores. */
  readonly oversubscribe: boolean
}

/** Settings of the configuration that ranks depend on. */
export interface Parallel {
  /** Size of an expert-parallel group, `parallel.expert`. Its ranks share the experts of a layer. */
  readonly expert: number
  /** Shards of a batch, `parallel.shards`; default: the ranks that the run starts with. */
  readonly shards?: number | undefined
}

export interface Request extends Parallel {
  readonly hosts?: readonly Host[]
  /** Number of ranks; default: one per slot. */
  readonly ranks?: number
  /** Threads of each rank; default: the cores of a host divided by its ranks. */
  readonly threads?: number
  /** Physical cores of a host. */
  readonly cores: number
  /** Slots of each host that is given without a number of slots. */
  readonly slotsPerHost?: number
  readonly oversubscribe?: boolean
  /** Whether ranks that fit the cores are bound to them; default: true. */
  readonly bind?: boolean
}

/** @throws UsageError if the numbers do not agree */
export function placeRanks(request: Request): Layout {
  const { cores, expert, oversubscribe = false, bind = true } = request
  const hosts = request.hosts ? withSlots(request.hosts, request) : null
  const slots = hosts ? sum(hosts.map((host) => host.slots)) : cores
  const ranks = request.ranks ?? (hosts ? slots : undefined)
  if (ranks === undefined)
    throw new UsageError(
      wording`missing ${option('ranks')} (expected the number of processes${expert > 1 ? `, a multiple of parallel.expert ${expert}` : ''}; or give ${option('hosts')})`,
    )
  checkParallel(ranks, option('ranks'), request)
  if (ranks > slots && !oversubscribe) {
    const where = hosts ? `the hosts have ${slots} slots` : `this machine has ${slots} slots, one per physical core`
    const more = hosts ? 'give the hosts more slots' : wording`give other machines with ${option('hosts')}`
    throw new UsageError(
      wording`invalid ${option('ranks')}: ${ranks} (${where}; use fewer ranks, ${more}, or add ${option('oversubscribe')})`,
    )
  }
  const ranksPerHost = hosts ? mostRanks(hosts, ranks) : ranks
  const threads = request.threads ?? Math.max(1, Math.floor(cores / ranksPerHost))
  if (!oversubscribe) checkCores(ranksPerHost, threads, cores)
  const fits = ranks <= slots && ranksPerHost * threads <= cores
  return { hosts, ranks, ranksPerHost, threads, bound: bind && fits, oversubscribe: oversubscribe && !fits }
}

/**
 * @param from the option that the number of ranks comes from
 * @throws UsageError if the ranks are not whole expert-parallel groups
 */
export function checkParallel(ranks: number, from: Option, { expert }: Parallel): void {
  if (ranks % expert !== 0) {
    const below = Math.floor(ranks / expert) * expert
    throw new UsageError(
      wording`invalid ${from}: ${ranks} ranks (expected a multiple of parallel.expert ${expert}, such as ${
        below > 0 ? `${below} or ` : ''
      }${below + expert})`,
    )
  }
}

/** @throws UsageError if the threads of a host's ranks are more than its cores */
export function checkCores(ranksPerHost: number, threads: number, cores: number): void {
  if (ranksPerHost * threads <= cores) return
  const fitting = Math.floor(cores / ranksPerHost)
  throw new UsageError(
    wording`invalid ${option('threads')}: ${threads} (${ranksPerHost} ranks on a host need ${ranksPerHost * threads} physical cores, it has ${cores}; ${
      fitting > 0 ? wording`use ${option('threads', String(fitting))} or ` : 'use '
    }fewer ranks, ${option('cores')} if the hosts have more, or ${option('oversubscribe')})`,
  )
}

/**
 * The layout on the hosts that are left: as many ranks as before or fewer, in whole expert-parallel groups, with the
 * same threads. Each rank has a power of two of shards, unless one rank alone has all of them. Null if not even one
 * group has slots.
 */
export function withoutHosts(
  layout: Layout,
  gone: ReadonlySet<string>,
  { expert, shards = layout.ranks }: Parallel,
): Layout | null {
  if (!layout.hosts || gone.size === 0) return layout
  // A host that had free slots gets no more ranks than the fullest host had: more might not fit the cores.
  const hosts = layout.hosts
    .filter(({ name }) => !gone.has(name))
    .map(({ name, slots }) => ({ name, slots: layout.oversubscribe ? slots : Math.min(slots, layout.ranksPerHost) }))
  const slots = sum(hosts.map((host) => host.slots))
  const ranksPerSlot = Math.max(1, layout.ranks / sum(layout.hosts.map((host) => host.slots)))
  const fits = (ranks: number) =>
    ranks % expert === 0 && shards % ranks === 0 && (ranks === 1 || Number.isInteger(Math.log2(shards / ranks)))
  let ranks = Math.floor(Math.min(layout.ranks, slots * ranksPerSlot))
  while (ranks > 0 && !fits(ranks)) ranks--
  return ranks === 0 ? null : { ...layout, hosts, ranks, ranksPerHost: mostRanks(hosts, ranks) }
}

/** Whether the ranks of some expert-parallel group are on more than one host. */
export function groupsSpanHosts({ hosts, ranks, oversubscribe }: Layout, expert: number): boolean {
  if (!hosts || oversubscribe) return false
  let first = 0
  return hosts.some(({ slots }) => {
    first += slots
    return first < ranks && first % expert !== 0
  })
}

/**
 * Largest number of ranks on one host. Ranks fill one host after the other, and begin again at the first host when all
 * are full.
 */
function mostRanks(hosts: readonly HostSlots[], ranks: number): number {
  const slots = sum(hosts.map((host) => host.slots))
  if (ranks > slots) return Math.max(...hosts.map((host) => host.slots)) * Math.ceil(ranks / slots)
  let left = ranks
  return Math.max(
    ...hosts.map((host) => {
      const here = Math.min(host.slots, left)
      left -= here
      return here
    }),
  )
}

function withSlots(hosts: readonly Host[], { slotsPerHost, ranks }: Request): HostSlots[] {
  const open = hosts.filter(({ slots }) => slots === undefined)
  const given = sum(hosts.map(({ slots = 0 }) => slots))
  const rest = ranks === undefined ? undefined : Math.ceil((ranks - given) / Math.max(1, open.length))
  const share = slotsPerHost ?? rest
  return hosts.map(({ name, slots = share }) => {
    if (slots === undefined || slots < 1)
      throw new UsageError(
        wording`invalid ${option('hosts')}: "${name}" has no number of slots (expected "${name}:4", or ${option('ranks')})`,
      )
    return { name, slots }
  })
}

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0)
