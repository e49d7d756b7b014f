/**
 * Routers that have learned long enough (`train.routerSteps`): their gradients are zero, so they do not count in the
 * norm, and their weights stay as they are, though the optimizer's momentum would still move them.
 */
import type { ParameterStore } from './store.ts'

export class FrozenRouters {
  private readonly store: ParameterStore
  private readonly names: readonly string[]
  private weights: readonly Float32Array[] | undefined

  constructor(store: ParameterStore) {
    this.store = store
    this.names = store.specs.filter(({ init }) => isRouter(init)).map(({ name }) => name)
  }

  /** After the gradients of a step are complete. */
  clearGradients(): void {
    this.weights ??= this.names.map((name) => this.store.parameter(name).slice())
    for (const name of this.names) this.store.gradient(name).fill(0)
  }

  /** After the update of the step. @param updated Names of the tensors that it has changed. */
  restore(updated: ReadonlySet<string>): void {
    for (const [i, name] of this.names.entries())
      if (updated.has(name)) this.store.parameter(name).set(this.weights?.[i] as Float32Array)
  }
}

const isRouter = (init: unknown): boolean =>
  typeof init === 'object' && init !== null && 'role' in init && init.role === 'router'
