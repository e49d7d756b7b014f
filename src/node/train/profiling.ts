/** The measurements around a training: the rate that its steps are compared with, and the profile of a step. */
import { engineOf } from '../../engine/contract/engine.ts'
import { sumOverRanks } from '../../engine/contract/ranks.ts'
import type { Runtime } from '../../engine/contract/runtime.ts'
import type { TrainSummary } from '../../train/loop/events.ts'
import { Ceiling, type CeilingReport } from '../../train/measure/mfu.ts'
import { measurePeakFlops } from '../../train/measure/peak.ts'
import { PROFILE_WARM_UP } from '../../train/measure/step-profile.ts'
import type { Trainer } from '../../train/step/trainer.ts'
import { measureLargePeak } from '../measure/machine.ts'
import type { TrainOptions } from './options.ts'

/** The matmul rate of all ranks, which measure at the same time, since they may share a machine. */
export function trainingCeiling(runtime: Runtime, { profile = false, ranks = null }: TrainOptions): Ceiling {
  const measure = () => (profile ? measureLargePeak(runtime) : measurePeakFlops(runtime))
  return new Ceiling(async () => (await sumOverRanks(ranks, Float64Array.of(await measure())))[0] as number)
}

/** Records the steps after the warm-up. */
export class Profiling {
  private readonly trainer: Trainer
  /** Memory bandwidth, bytes per second. */
  private readonly bandwidth: number
  private readonly first: number

  /** @param done Number of steps that were done before. @param steps Number of the last step. */
  constructor(trainer: Trainer, bandwidth: number, done: number, steps: number) {
    this.trainer = trainer
    this.bandwidth = bandwidth
    this.first = done + Math.min(PROFILE_WARM_UP, Math.floor((steps - done) / 2)) + 1
  }

  beforeStep(step: number): void {
    if (step === this.first) this.trainer.resetProfile()
  }

  /** Ends the recording and returns its results. */
  results(runtime: Runtime, { peakFlops }: CeilingReport): Pick<TrainSummary, 'profile' | 'trace'> {
    const { trainer, bandwidth } = this
    return {
      profile: { ...trainer.profile(), ...engineOf(runtime), peakFlops, bandwidth },
      trace: trainer.lastStep(),
    }
  }
}
