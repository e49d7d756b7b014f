/** Provides the parameters with which a training begins or continues. */
import type { RunConfig } from '../../core/config/run-config.ts'
import type { Ranks } from '../../engine/contract/ranks.ts'
import type { TrainEvent } from '../../train/loop/events.ts'
import { fromFirst } from '../../train/run/agreement.ts'
import type { Origin } from '../../train/run/origin.ts'
import { initialize, initialScales } from '../../train/step/store/initialize.ts'
import type { ParameterStore } from '../../train/step/store/store.ts'
import type { RunDirectory } from '../run/run-directory.ts'
import type { SavedState } from '../run/saved-state.ts'
import { findWeightsAgain, loadOrigin, type WeightsSource } from '../run/weights-source.ts'

interface Setting {
  readonly config: RunConfig
  readonly directory: string
  readonly resume: boolean
  /** Step of the checkpoint to resume from; undefined for the newest. */
  readonly checkpoint: number | undefined
  /** Weights of another run, if a new run begins with them. */
  readonly weights: WeightsSource | null
  readonly store: ParameterStore
  /** The drawing of initial parameters, if it has begun already. */
  readonly drawn: Promise<void> | null
  readonly saved: SavedState
  /** Files of the run; null on all ranks but the first. */
  readonly files: RunDirectory | null
  readonly ranks: Ranks | null
  readonly emit: (event: TrainEvent) => void
  /** Signal that ends the reading of a checkpoint; its reason is thrown. */
  readonly signal: AbortSignal | undefined
}

interface Beginning {
  /** Step of the checkpoint that is continued or forked from, or 0. */
  readonly step: number
  /** Origin of the first weights of the run; null if they do not come from another run. */
  readonly origin: Origin | null
  /** Whether the parameters were copied from another run and are in no checkpoint of this run yet. */
  readonly copied: boolean
}

export const drawParameters = (store: ParameterStore, config: RunConfig, signal?: AbortSignal): Promise<void> =>
  initialize(store, config.train.seed, initialScales(config), signal)

/**
 * Restores a resumed run and records its changed settings, copies the weights or the state of another run, or draws
 * initial parameters. All ranks call it.
 * @throws UsageError if the text is not the text of the run; RunError if no checkpoint is intact, or weights are gone
 */
export async function firstParameters(setting: Setting): Promise<Beginning> {
  const { config, directory, resume, checkpoint, store, saved, files, ranks, emit } = setting
  const begin = (message: string) => emit({ kind: 'prepare', message })
  const found = resume ? await saved.restore(checkpoint, (message) => emit({ kind: 'warning', message })) : null
  await fromFirst(ranks, async () => (await files?.adopt(found !== null)) ?? null)
  const recorded = resume ? await fromFirst(ranks, () => loadOrigin(directory)) : null
  if (found) {
    begin(`continuing from ${found.path}`)
    const warning = files?.warningAt(found.step) ?? null
    if (warning !== null) emit({ kind: 'warning', message: warning })
    return { step: found.step, origin: recorded, copied: false }
  }
  const weights =
    setting.weights ??
    (recorded && (await fromFirst(ranks, () => findWeightsAgain(directory, recorded, config, setting.signal))))
  if (weights?.state) {
    begin(`forking from ${weights.path}`)
    await saved.readFork(weights.path, weights.state)
    return { step: weights.origin.step, origin: recorded ?? weights.origin, copied: true }
  }
  if (weights) {
    begin(`weights of ${weights.path}`)
    await saved.readWeights(weights.path)
    return { step: 0, origin: recorded ?? weights.origin, copied: true }
  }
  begin('initial parameters')
  await (setting.drawn ?? drawParameters(store, config))
  return { step: 0, origin: null, copied: false }
}
