/**
 * The routing of an arm, read from its settings (how many experts a token activates and under which capacity), and
 * the settings in which two arms differ.
 */
import type { Contrast } from '../../contract.ts'
import type { Runs } from '../runs.ts'

export interface Routing {
  readonly arm: string
  readonly router: string
  readonly prototypes: number
  /** Number of experts activated in each prototype. */
  readonly k: number
  /** Number of experts activated by a token, k · prototypes. */
  readonly activated: number
  readonly capacity: string
  /** The capacity factor; infinite without a capacity limit. */
  readonly factor: number
}

/** The routing of an arm; null for a dense model. */
export function routingOf(runs: Runs, arm: string): Routing | null {
  if (runs.setting(arm, 'model.moe') === null) return null
  const prototypes = runs.numberSetting(arm, 'model.moe.prototypes', 1)
  const k = runs.numberSetting(arm, 'model.moe.k', 1)
  const capacity = runs.stringSetting(arm, 'model.moe.capacity', 'kx')
  return {
    arm,
    router: runs.stringSetting(arm, 'model.moe.router', 'top-k'),
    prototypes,
    k,
    activated: k * prototypes,
    capacity,
    factor: capacity === 'none' ? Infinity : runs.numberSetting(arm, 'model.moe.factor', 1.25),
  }
}

/** The name of a routing: `2 top-1`, `top-2`, `hash top-1`, `dense`. */
export function familyOf(routing: Routing | null): string {
  if (routing === null) return 'dense'
  const { router, prototypes, k } = routing
  if (router === 'prototype') return `${prototypes} top-${k}`
  // A router of the user's own is named by the path of its file.
  const name = router.replace(/^.*[\\/]/, '').replace(/\.m?[jt]s$/, '')
  return router === 'top-k' || router === 'switch' ? `top-${k}` : `${name} top-${k}`
}

/**
 * The name of a routing with its capacity: `2 top-1 1x ×1.25`, `top-1 ×1.25` (with one activated expert, 1x and kx are
 * the same), and `top-2 dropless` without a limit.
 */
export function routingWithCapacity(routing: Routing | null): string {
  if (routing === null) return familyOf(routing)
  const { capacity, factor, activated } = routing
  if (capacity === 'none') return `${familyOf(routing)} dropless`
  return `${familyOf(routing)}${activated > 1 ? ` ${capacity}` : ''} ×${factor}`
}

/** Settings that change the speed but not the results. */
export const speedOnly: readonly string[] = ['model.moe.compute', 'model.moe.selection', 'runtime.threads']

/** A setting as text for the report. */
export const valueText = (runs: Runs, arm: string, path: string): string => {
  const value = runs.setting(arm, path)
  return value === undefined || value === null ? 'none' : typeof value === 'object' ? JSON.stringify(value) : `${value}`
}

/** Paths of the settings in which two arms differ. */
export function differingPaths(runs: Runs, a: string, b: string): string[] {
  const { arms } = runs.results
  const paths = new Set([...Object.keys(arms[a] ?? {}), ...Object.keys(arms[b] ?? {})])
  return [...paths].filter((path) => comparableValue(runs, a, path) !== comparableValue(runs, b, path))
}

/** A setting as text for comparisons. The switch router is top-k with k = 1, so both routers have the same text. */
export function comparableValue(runs: Runs, arm: string, path: string): string {
  const value = runs.setting(arm, path)
  return JSON.stringify(path === 'model.moe.router' && value === 'switch' ? 'top-k' : (value ?? null))
}

/** Drops contrasts that repeat the two arms of an earlier contrast, in either direction. */
export const distinctContrasts = (contrasts: readonly Contrast[]): Contrast[] =>
  contrasts.filter((contrast, i) => contrasts.findIndex((other) => sameArms(other, contrast)) === i)

const sameArms = (a: Contrast, b: Contrast): boolean =>
  (a.arm === b.arm && a.baseline === b.baseline) || (a.arm === b.baseline && a.baseline === b.arm)
