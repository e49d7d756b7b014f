/**
 * AdamW (`adamw.ts`) with moments in bf16 or int8 (`engine/contract/moments.ts`). Moments are rounded with random bits
 * that depend on seed, update and unit, so that a resumed training, or a training on other ranks, has the same bits.
 */
import type { ArenaKernels } from '../../../engine/contract/arena-kernels.ts'
import type { CompactState } from '../../../engine/contract/moments.ts'
import { compactTensors } from '../store/named-tensors.ts'
import type { ParameterStore } from '../store/store.ts'
import { settingsOf } from './adamw.ts'
import type { Optimizer } from './contract.ts'
import { rangeUpdate, type UpdateConfig } from './tensor-update.ts'

/** @param seed Seed of the run, for the rounding of moments. */
export function compactAdamw(
  kernels: ArenaKernels,
  store: ParameterStore,
  config: UpdateConfig,
  state: CompactState,
  seed: number,
): Optimizer {
  const units = store.trainedShares().flatMap((share) =>
    store.units([share]).map(({ arena, parameters, gradients, count, index }, i) => {
      const { spec } = share
      const { start } = store.compactMoments(share, share.from + i)
      return { spec, index, range: { arena, p: parameters, g: gradients, moments: start, count } }
    }),
  )
  return {
    update({ step, learningRate }, gate, names) {
      const ranges = units
        .filter(({ spec }) => names?.has(spec.name) ?? true)
        .map(({ spec, index, range }) => {
          return { ...range, ...rangeUpdate(config, spec, learningRate), seed: hash(hash(seed, step), index) }
        })
      return kernels.adamwCompact(state, ranges, settingsOf(config, step, learningRate), gate)
    },
    stateTensors: () => compactTensors(store, state),
  }
}

/** Hashes two numbers to 32 bits: a step of MurmurHash3 (Appleby 2011) and its finalizer. */
function hash(a: number, b: number): number {
  let h = Math.imul(a ^ Math.imul(b, 0xcc9e2d51), 0x1b873593) + 0xe6546b64
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return (h ^ (h >>> 16)) >>> 0
}
