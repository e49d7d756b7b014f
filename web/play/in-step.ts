/**
 * Two sides train in step: neither begins a step before the other has done the step before it, and neither begins its
 * first step before both models are compiled. Otherwise the cheaper one runs ahead, and two models of different age are
 * compared.
 */
import { effect } from '@preact/signals'
import type { LiveRun } from './live-run.ts'

/** Keeps trainings in step from now on. A side that is paused, done or failed holds back no other. */
export function keepInStep(runs: readonly LiveRun[]): () => void {
  return effect(() => {
    const training = runs.filter(({ phase }) => phase.value === 'preparing' || phase.value === 'running')
    for (const run of training) {
      const others = training.filter((other) => other !== run)
      const allowed = others.map(({ phase, done }) => (phase.value === 'preparing' ? 0 : done.value + 1))
      run.allow(others.length > 0 ? Math.min(...allowed) : null)
    }
  })
}

/** The step that all trainings have reached which are open. A side that failed, or is being opened, is left out. */
export function commonStepOf(runs: readonly LiveRun[]): number {
  const steps = runs.flatMap(({ phase, opened, version, done }) => {
    // Numbers are drawn when the version changes.
    void version.value
    return phase.value === 'failed' || opened.value === null ? [] : [done.peek()]
  })
  return steps.length > 0 ? Math.min(...steps) : 0
}
