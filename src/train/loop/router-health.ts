/**
 * Finds routers that have gone wrong while a model trains. A mixture with a collapsed router trains on with a loss that
 * looks almost normal, so somebody must look at the loads: here they are looked at every {@link WINDOW} steps, and what is
 * wrong is a warning that says what to try.
 *
 * A fault shows in every step of a window, noise of sampling in none of it: the rules are about sums over a window, and
 * about experts that would have had many tokens by their share. Each fault of a router is reported once; a fault that is
 * gone for a window is reported again when it comes back.
 */
import { sumOf } from '../../core/averages.ts'
import type { MoeConfig } from '../../core/model/config/moe-config.ts'
import { activatedExperts } from '../../core/model/config/moe-config.ts'
import { hasRouterWeights } from '../../core/model/routing/routers.ts'
import type { LayerCounts } from '../../core/model/routing/statistics.ts'
import { percent } from '../../core/text/numbers.ts'

/** Number of steps that are looked at together, so that a fault is named at most twice as many steps after it began. */
export const WINDOW = 100
/** Share of the choices of a prototype that its k busiest experts have, from which on the router has collapsed. */
const COLLAPSED = 0.9
/** Choices that each expert would have in a window by its share, without which an expert with none is no finding. */
const EXPECTED = 100
/** Share of tokens that no expert computes, from which on experts are too full. */
const UNSERVED = 0.25

type Fault = 'collapsed' | 'dead' | 'full' | 'gates'

/** Sums over a window. */
interface Window {
  readonly tokens: Float64Array
  unserved: number
  gate: number
  passes: number
}

/** What the routers of a window have, in words for people. */
interface Found {
  /** A warning for each fault that the window before did not have. */
  readonly warnings: readonly string[]
  /** All faults; absent if there are none, and there were none in the window before. */
  readonly faults?: readonly string[]
}

export class RouterHealth {
  private readonly moe: MoeConfig | null
  private windows = new Map<string, Window>()
  private steps = 0
  /** Faults of the last window, by router. */
  private reported = new Map<string, ReadonlySet<Fault>>()

  constructor(moe: MoeConfig | null) {
    this.moe = moe
  }

  /** Adds the counts of a step. @returns null unless the step is the last of a window. */
  add(layers: readonly LayerCounts[]): Found | null {
    const { moe } = this
    if (!moe) return null
    for (const counts of layers) this.count(counts)
    if (++this.steps < WINDOW) return null
    const [all, warnings]: [string[], string[]] = [[], []]
    const reported = new Map<string, ReadonlySet<Fault>>()
    for (const [name, window] of this.windows) {
      const faults = faultsOf(window, moe)
      reported.set(name, new Set(faults.keys()))
      for (const [fault, text] of faults) {
        const message = `${name}: ${text} (over the last ${WINDOW} steps)`
        all.push(message)
        if (!this.reported.get(name)?.has(fault)) warnings.push(message)
      }
    }
    const hadFaults = [...this.reported.values()].some(({ size }) => size > 0)
    this.windows = new Map()
    this.reported = reported
    this.steps = 0
    return { warnings, ...((all.length > 0 || hadFaults) && { faults: all }) }
  }

  private count({ layer, module, tokens, unserved, gate, passes }: LayerCounts): void {
    const name = `the router of layer ${layer}${module === 'ffn' ? '' : ` (${module})`}`
    const empty = { tokens: new Float64Array(tokens.length), unserved: 0, gate: 0, passes: 0 }
    const window = this.windows.get(name) ?? empty
    this.windows.set(name, window)
    for (const [expert, count] of tokens.entries()) window.tokens[expert] = (window.tokens[expert] as number) + count
    window.unserved += unserved
    window.gate += gate
    window.passes += passes
  }
}

/** What is wrong with a router in a window, in words. */
function faultsOf({ tokens, unserved, gate, passes }: Window, moe: MoeConfig): Map<Fault, string> {
  const faults = new Map<Fault, string>()
  const each = tokens.length / moe.prototypes
  const balance = adviceOf(moe)
  // Experts that choose their tokens have as many as their capacity, and a fixed rule does not collapse.
  const isLearned = moe.router === 'own' || (hasRouterWeights(moe) && moe.router !== 'expert-choice')
  if (isLearned) {
    const collapsed = Array.from({ length: moe.prototypes }, (_, prototype) =>
      collapseOf(tokens, prototype * each, each, moe.k),
    ).filter((found) => found !== null)
    const [first] = collapsed
    if (first)
      faults.set(
        'collapsed',
        `${first.experts.length === 1 ? 'expert' : 'experts'} ${first.experts.join(', ')} of ${each} ` +
          `${first.experts.length === 1 ? 'takes' : 'take'} ${percent(first.share, 0)} of the tokens, so the model is ` +
          `hardly more than a dense one: ${balance}`,
      )
    else {
      const dead = [...tokens.keys()].filter((expert) => tokens[expert] === 0)
      if (dead.length > 0 && sumOf(tokens) / tokens.length >= EXPECTED)
        faults.set('dead', `${listed(dead)} of ${tokens.length} experts had no token: ${balance}`)
    }
  }
  if (moe.router !== 'expert-choice' && unserved / passes >= UNSERVED)
    faults.set(
      'full',
      `no expert computed ${percent(unserved / passes, 0)} of the tokens, since those that they chose were full: raise ` +
        'model.moe.factor, set model.moe.capacity to none, or balance the loads',
    )
  const mean = gate / passes
  const most = activatedExperts(moe) * moe.routedScale
  if (Number.isNaN(mean))
    faults.set('gates', 'its gates are not a number: lower train.schedule.learningRate, or raise model.moe.zLoss')
  else if (isLearned && mean > 1.01 * most)
    faults.set(
      'gates',
      `the gates of a token add up to ${mean.toPrecision(3)}, where gates of at most 1 add up to at most ${most}: ` +
        'normalise the gates of the router',
    )
  return faults
}

/** What to try if experts have too few tokens. */
function adviceOf({ router }: MoeConfig): string {
  if (router === 'own') return 'balance the router, or give it a balancing loss (model.moe.balance)'
  if (router === 'bias') return 'raise model.moe.biasRate'
  return 'raise model.moe.balance.coefficient, or lower train.schedule.routerRate'
}

/**
 * The k busiest experts of a prototype, if they have nearly all of its choices and there are many more experts.
 * @param tokens Number of choices of each expert of the router.
 * @param from First expert of the prototype, which has `each` experts.
 */
export function collapseOf(tokens: ArrayLike<number>, from: number, each: number, k: number) {
  if (each < 2 * k) return null
  const busiest = Array.from({ length: each }, (_, i) => from + i)
    .sort((a, b) => (tokens[b] as number) - (tokens[a] as number))
    .slice(0, k)
  const all = Array.from({ length: each }, (_, i) => tokens[from + i] as number).reduce((sum, count) => sum + count, 0)
  const share = all > 0 ? busiest.reduce((sum, expert) => sum + (tokens[expert] as number), 0) / all : 0
  return share >= COLLAPSED ? { experts: busiest.sort((a, b) => a - b), share } : null
}

/** Numbers of experts, the first of many. */
const listed = (experts: readonly number[]): string =>
  experts.length <= 6
    ? `experts ${experts.join(', ')}`
    : `${experts.length} experts (${experts.slice(0, 5).join(', ')}, ...)`
