/**
 * How the updates of tensors differ from each other: the learning rates of experts and routers have factors
 * (`train.schedule.expertRate`, `routerRate`), and experts may have a weight decay of their own
 * (`train.optimizer.expertWeightDecay`).
 */
import type { TrainConfig } from '../../../core/config/run-config.ts'
import type { ParameterSpec } from '../../../core/model/parameters.ts'
import { isRouter } from './updated.ts'

/** The settings of an update. */
export type UpdateConfig = Pick<TrainConfig, 'optimizer' | 'schedule'>

interface TensorUpdate {
  /** Factor of the learning rate. */
  readonly factor: number
  readonly weightDecay: number
}

/** A stacked tensor belongs to routed experts; the shared expert is updated like any other network. */
export function tensorUpdate({ optimizer, schedule }: UpdateConfig, spec: ParameterSpec): TensorUpdate {
  const { weightDecay, expertWeightDecay } = optimizer
  const decay = spec.stacked ? (expertWeightDecay ?? weightDecay) : weightDecay
  const factor = spec.stacked ? schedule.expertRate : isRouter(spec) ? schedule.routerRate : 1
  return { factor, weightDecay: spec.decay ? decay : 0 }
}

/** Whether one range may hold both tensors. */
export function areUpdatedAlike(config: UpdateConfig, a: ParameterSpec, b: ParameterSpec): boolean {
  const [one, other] = [tensorUpdate(config, a), tensorUpdate(config, b)]
  return one.factor === other.factor && one.weightDecay === other.weightDecay
}

/** The fields of a range of an arena kernel. @param learningRate Learning rate of the step, without factors. */
export function rangeUpdate(config: UpdateConfig, spec: ParameterSpec, learningRate: number) {
  const { factor, weightDecay } = tensorUpdate(config, spec)
  return { factor, keep: 1 - learningRate * factor * weightDecay }
}
