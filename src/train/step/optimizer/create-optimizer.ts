/** The optimizer that a configuration names: the memory that it needs in the store, and the optimizer itself. */
import type { RunConfig } from '../../../core/config/run-config.ts'
import type { ParameterSpec } from '../../../core/model/parameters.ts'
import type { ArenaKernels } from '../../../engine/contract/arena-kernels.ts'
import type { CompactState } from '../../../engine/contract/moments.ts'
import type { Runtime } from '../../../engine/contract/runtime.ts'
import { type Layout, ownedSpecs, type Share } from '../store/placement.ts'
import type { ParameterStore } from '../store/store.ts'
import { adafactor, adafactorScratch } from './adafactor.ts'
import { ADAMW_MOMENTS, adamw } from './adamw.ts'
import { compactAdamw } from './compact-adamw.ts'
import type { Optimizer } from './contract.ts'
import { ownStateFloats, ruleOf } from './own-rule.ts'
import { ownUpdate } from './own-update.ts'

type Training = RunConfig['train']

/** Memory of an optimizer, as the constructor of {@link ParameterStore} takes it. */
interface OptimizerMemory {
  readonly moments: number | CompactState | ((share: Share) => number)
  /** Number of floats of scratch memory. */
  readonly scratch: number
}

export function optimizerMemory(train: Training, specs: readonly ParameterSpec[], layout: Layout): OptimizerMemory {
  const { kind, state } = train.optimizer
  if (kind === 'own') {
    const rule = ruleOf(train)
    return { moments: (share) => ownStateFloats(rule, share), scratch: 0 }
  }
  if (kind === 'adafactor') return { moments: 0, scratch: adafactorScratch(ownedSpecs(specs, layout)) }
  return { moments: state === 'float32' ? ADAMW_MOMENTS : state, scratch: 0 }
}

export async function createOptimizer(
  runtime: Runtime,
  kernels: ArenaKernels,
  store: ParameterStore,
  train: Training,
): Promise<Optimizer> {
  const { kind, state } = train.optimizer
  if (kind === 'own') return ownUpdate(runtime, store, train)
  if (kind === 'adafactor') return adafactor(kernels, store, train)
  return state === 'float32' ? adamw(kernels, store, train) : compactAdamw(kernels, store, train, state, train.seed)
}
