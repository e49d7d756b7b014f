/** Finds the tensor in which a step went wrong, if its loss or gradient is not finite. */
import { option, RunError, wording } from '../../core/errors.ts'
import { rankName } from '../../core/text/rank-name.ts'
import { readRange } from '../../engine/contract/arena.ts'
import { gatherJson, type Ranks } from '../../engine/contract/ranks.ts'
import type { ParameterStore, Unit } from '../step/store/store.ts'

interface Place {
  /** Index of the unit (`src/train/step/store/placement.ts`) among all units of the model. */
  readonly index: number
  readonly name: string
}

/** The last non-finite parameter and the last non-finite gradient of a rank, in the order of the model. */
interface Places {
  readonly parameter: Place | null
  readonly gradient: Place | null
}

/**
 * Searches all parameters that this rank holds, also if other ranks own them, because the memory of one rank may be
 * damaged. Searches only the gradients of owned tensors, which are sums over all ranks: non-finite values spread from
 * the last such gradient, in backward order, to all earlier layers.
 */
async function findPlaces(store: ParameterStore): Promise<Places> {
  const last = async (units: readonly Unit[], what: 'parameters' | 'gradients'): Promise<Place | null> => {
    for (const { arena, [what]: start, count, index, name } of units.toReversed())
      if (!(await readRange({ arena, start, count })).every(Number.isFinite)) return { index, name }
    return null
  }
  const held = store.units(store.shares).toSorted((a, b) => a.index - b.index)
  return { parameter: await last(held, 'parameters'), gradient: await last(store.units(), 'gradients') }
}

/**
 * Describes for people where non-finite values come from: a parameter and the ranks whose copy of it is not finite, or
 * the first such gradient in backward order and the ranks whose part of the batch has a loss that is not finite.
 * Returns undefined if all parameters and gradients are finite.
 */
export async function findNonFinite(
  store: ParameterStore,
  ranks: Ranks | null = null,
  passLosses: readonly number[] = [],
): Promise<string | undefined> {
  const all = await gatherJson(ranks, await findPlaces(store))
  const lastOf = (what: keyof Places) =>
    all.flatMap((places) => places[what] ?? []).toSorted((a, b) => b.index - a.index)[0]
  const parameter = lastOf('parameter')
  if (parameter) {
    const damaged = all.flatMap((places, rank) => (places.parameter?.index === parameter.index ? [rank] : []))
    return `in parameter ${describe(parameter)}${ranks ? ` of ${namesOf(ranks, damaged)}` : ''}`
  }
  const gradient = lastOf('gradient')
  if (!gradient) return undefined
  const text = `first in the gradient of ${describe(gradient)}`
  if (!ranks) return text
  const passes = passLosses.length / ranks.size
  const losses = all.flatMap((_, rank) =>
    passLosses.slice(rank * passes, (rank + 1) * passes).every(Number.isFinite) ? [] : [rank],
  )
  return losses.length === 0 ? text : `${text}, with a loss that is not finite on ${namesOf(ranks, losses)}`
}

/** Text such as `layers.1.moe.experts.3.in (layer 1, expert 3)`. */
function describe({ name }: Place): string {
  const layer = /^layers\.(\d+)\./.exec(name)?.[1]
  const expert = /\.experts\.(\d+)\./.exec(name)?.[1]
  return expert === undefined ? name : `${name} (layer ${layer}, expert ${expert})`
}

/** Text such as `rank 1 (a, PID 42)`, or `all ranks`. */
function namesOf({ roster, size }: Ranks, ranks: readonly number[]): string {
  if (ranks.length === size) return 'all ranks'
  const names = ranks.map((rank) => rankName({ rank, ...roster[rank] }))
  return names.join(' and ')
}

class TooManyNonFinite extends RunError {
  override readonly isComputed = true
}

/** @param message The message (`nonFiniteMessage`) of the last such step. */
export const tooManyNonFinite = (message: string, count: number): RunError =>
  new TooManyNonFinite(
    wording`${message}\nstopping after ${count} such steps in a row (train.maxNonFinite); lower train.schedule.learningRate or raise its ${wording`warmup, and resume, from a checkpoint before them if the newest fails again (${option('checkpoint', 'STEP')})`}`,
  )
