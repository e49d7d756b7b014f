/**
 * Whether a training can fork from a checkpoint of another run: take over its weights, its optimizer state, its step
 * and its place in the text, and go on with other settings (`choir train --fork`). A setting may differ if the state
 * that was taken over keeps its meaning.
 */
import { type Difference, differences, formatDifferent } from '../../core/config/differences.ts'
import type { RunConfig } from '../../core/config/run-config.ts'
import { option, UsageError, wording } from '../../core/errors.ts'
import { refuseOtherShapes } from './other-shapes.ts'

/** Settings that may not differ, each with the harm that a difference would do. */
const broken: readonly (readonly [RegExp, string])[] = [
  [/^train\.optimizer\.(kind|own|state)$/, 'the optimizer state would not fit'],
  [/^train\.freeze$/, 'frozen parameters have no optimizer state'],
  [/^(train\.batch|model\.sequence)$/, 'the place in the text would be lost'],
  [/^data\.(seed|heldOut)/, 'text that was trained on would be held out'],
  [/^data\.(field|encoding)/, 'the text would be another one'],
  [/^data\.tokenizer/, 'tokens would change their meaning'],
]

/**
 * @param run Directory of the other run, for messages.
 * @param of Configuration of the other run.
 * @throws UsageError naming tensors of other shapes, or the settings that may not differ, each with a reason
 */
export function refuseFork(run: string, of: RunConfig, config: RunConfig): void {
  refuseOtherShapes(run, of.model, config.model, 'fork')
  const refused = differences(of, config).flatMap((difference) => {
    const [, why] = broken.find(([field]) => field.test(difference.field)) ?? []
    return why === undefined ? [] : [lineOf(difference, why)]
  })
  if (refused.length > 0)
    throw new UsageError(
      wording`invalid ${option('fork')}: a fork keeps the state of the training of ${run}, which does not allow these settings (leave ${wording`them out, or begin a new training with its weights: ${option('from')})${refused.join('')}`}`,
    )
}

const lineOf = ({ field, from, to }: Difference, why: string): string =>
  `\n  ${field}: ${formatDifferent(from)} in the run, ${formatDifferent(to)} given (${why})`

/**
 * @param steps Steps of the checkpoints of the run.
 * @throws UsageError if no step is left to train
 */
export function refuseEndOfTraining(run: string, step: number, steps: readonly number[], config: RunConfig): void {
  if (step >= config.train.steps) throw noStepLeft('fork', run, step, steps, config)
}

/** The refusal of a training that would continue from a step after which it has no other. */
export function noStepLeft(
  how: 'fork' | 'resume',
  run: string,
  step: number,
  steps: readonly number[],
  config: RunConfig,
): UsageError {
  const earlier = steps.filter((other) => other < config.train.steps)
  const choose =
    earlier.length > 0 ? wording`, or an earlier checkpoint, ${option('checkpoint', earlier.join(' or '))}` : ''
  return new UsageError(
    wording`invalid ${option(how)}: no step is left to train from step ${step} of ${run}, since train.steps is ${config.train.steps} ${wording`(give more, ${option('train.steps', 'N')}${choose})`}`,
  )
}
