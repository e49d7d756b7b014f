/**
 * What an arm's routing is, read from its settings: how many experts a token activates, under which
 * capacity, and in which settings two arms differ.
 */
import type { Contrast } from '../../contract.ts'
import type { Runs } from '../runs.ts'

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

/** Settings that change the speed and not the numbers. */
export const speedOnly: readonly string[] = ['model.moe.compute', 'model.moe.selection', 'runtime.threads']

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

/** Contrasts without those whose two arms are there before, in one direction or the other. */
export const distinct = (contrasts: readonly Contrast[]): Contrast[] =>
  contrasts.filter((contrast, i) => contrasts.findIndex((other) => sameArms(other, contrast)) === i)

/** True for the same two arms, in one direction or the other. */
const sameArms = (a: Contrast, b: Contrast): boolean =>
  (a.arm === b.arm && a.baseline === b.baseline) || (a.arm === b.baseline && a.baseline === b.arm)
