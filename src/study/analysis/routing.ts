/**
 * What an arm's routing is, read from its settings: how many experts a token activates, under which
 * capacity, and which arms differ in that alone. Comparisons that a question does not list but whose
 * arms are there (top-2 against top-1 at the same capacity, say) are found with it.
 */
import type { Contrast } from '../contract.ts'
import type { Runs } from './runs.ts'

export interface Routing {
  readonly arm: string
  readonly router: string
  readonly prototypes: number
  /** In a prototype. */
  readonly k: number
  /** Activated by a token, k · prototypes. */
  readonly activated: number
  readonly capacity: string
  /** Infinite without a capacity. */
  readonly factor: number
}

/** Null for a dense model. */
export function routingOf(runs: Runs, arm: string): Routing | null {
  if (runs.setting(arm, 'model.moe') === null) return null
  const prototypes = runs.numberSetting(arm, 'model.moe.prototypes', 1)
  const k = runs.numberSetting(arm, 'model.moe.k', 1)
  const capacity = runs.wordSetting(arm, 'model.moe.capacity', 'kx')
  return {
    arm,
    router: runs.wordSetting(arm, 'model.moe.router', 'top-k'),
    prototypes,
    k,
    activated: k * prototypes,
    capacity,
    factor: capacity === 'none' ? Infinity : runs.numberSetting(arm, 'model.moe.factor', 1.25),
  }
}

/** `2 top-1`, `top-2`, `hash top-1`, `dense`. */
export function familyOf(routing: Routing | null): string {
  if (routing === null) return 'dense'
  const { router, prototypes, k } = routing
  if (router === 'prototype') return `${prototypes} top-${k}`
  return router === 'top-k' || router === 'switch' ? `top-${k}` : `${router} top-${k}`
}

/**
 * Rules by which an arm's capacity may be compared: with one expert a token the rules 1x and kx are the
 * same rule, and no capacity at all is the far end of both.
 */
export function rulesOf({ capacity, activated }: Routing): readonly string[] {
  return capacity === 'none' || activated === 1 ? ['1x', 'kx'] : [capacity]
}

/** Settings that change the speed and not the numbers. */
export const speedOnly: readonly string[] = ['model.moe.compute', 'model.moe.selection', 'runtime.threads']

/** True when no setting but those of `paths` (and those that change only the speed) tells two arms apart. */
export function differOnlyIn(runs: Runs, a: string, b: string, paths: readonly string[]): boolean {
  const ignored = new Set([...paths, ...speedOnly])
  return differences(runs, a, b).every((path) => ignored.has(path))
}

/**
 * What sets each of `arms` apart from the others besides `paths`: `learningRate 0.003`; nothing for an arm
 * that is alone. For names of lines that would otherwise be the same.
 */
export function distinctions(runs: Runs, arms: readonly string[], paths: readonly string[]): string[] {
  const ignored = new Set([...paths, ...speedOnly])
  const [first] = arms
  const apart = new Set(arms.flatMap((arm) => (first === undefined ? [] : differences(runs, first, arm))))
  const told = [...apart].filter((path) => !ignored.has(path))
  return arms.map((arm) => told.map((path) => `${path.split('.').at(-1)} ${valueText(runs, arm, path)}`).join(', '))
}

/** A value as a reader would write it. */
export const valueText = (runs: Runs, arm: string, path: string): string => {
  const value = runs.setting(arm, path)
  return value === undefined || value === null ? 'none' : typeof value === 'object' ? JSON.stringify(value) : `${value}`
}

/** Paths of the settings in which two arms differ. */
export function differences(runs: Runs, a: string, b: string): string[] {
  const { arms } = runs.results
  const paths = new Set([...Object.keys(arms[a] ?? {}), ...Object.keys(arms[b] ?? {})])
  return [...paths].filter((path) => comparableValue(runs, a, path) !== comparableValue(runs, b, path))
}

/** The switch router is top-k with k = 1: the same numbers by another name. */
export function comparableValue(runs: Runs, arm: string, path: string): string {
  const value = runs.setting(arm, path)
  return JSON.stringify(path === 'model.moe.router' && value === 'switch' ? 'top-k' : (value ?? null))
}

/** `more` appended to `contrasts`, without those already there in one direction or the other. */
export function joined(contrasts: readonly Contrast[], more: readonly Contrast[]): Contrast[] {
  const all = [...contrasts]
  for (const contrast of more) if (!all.some((other) => sameArms(other, contrast))) all.push(contrast)
  return all
}

/** True for the same two arms, in one direction or the other. */
export const sameArms = (a: Contrast, b: Contrast): boolean =>
  (a.arm === b.arm && a.baseline === b.baseline) || (a.arm === b.baseline && a.baseline === b.arm)
