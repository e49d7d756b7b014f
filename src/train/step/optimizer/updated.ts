/**
 * The tensors that a step updates. Frozen tensors (`train.freeze`) are left out, and so are routers that have learned
 * long enough (`train.routerSteps`): they do not count in the norm, and the optimizer's momentum does not move them
 * either.
 */
import type { ParameterSpec } from '../../../core/model/parameters.ts'
import { isRouterBias } from '../../../core/model/routing/router-bias.ts'
import type { ArenaRange } from '../../../engine/contract/arena.ts'
import type { ParameterStore, Unit } from '../store/store.ts'

export interface Updated {
  /** Owned units. */
  readonly units: readonly Unit[]
  /** Their gradients, for the norm. */
  readonly gradients: readonly ArenaRange[]
  /** Indices of the units of all ranks, in order. */
  readonly indices: readonly number[]
  /** Names of tensors, in the groups in which parameters travel. */
  readonly names: readonly ReadonlySet<string>[]
}

/** Whether a tensor belongs to a router; the biases of the router `bias` are moved by a rule of their own. */
export const isRouter = ({ name, init }: ParameterSpec): boolean =>
  (typeof init === 'object' && init.role === 'router') || (/\.router\.\w+$/.test(name) && !isRouterBias(name))

/** @param groups Names of all tensors, in groups. */
export function updatedOf(
  store: ParameterStore,
  groups: readonly ReadonlySet<string>[],
  learns: (spec: ParameterSpec) => boolean,
): Updated {
  const learning = new Set(store.specs.filter((spec) => !spec.frozen && learns(spec)).map(({ name }) => name))
  const units = store.units(store.trainedShares().filter(({ spec }) => learns(spec)))
  return {
    units,
    gradients: units.map(({ arena, gradients, count }) => ({ arena, start: gradients, count })),
    indices: store.specs.flatMap((spec) => (learning.has(spec.name) ? store.unitIndices(spec.name) : [])),
    names: groups.map((names) => new Set([...names].filter((name) => learning.has(name)))),
  }
}
