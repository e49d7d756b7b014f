/** The predictions of a study in a terminal: their registration when it starts, and their results when it ends. */
import { plural } from '../../../../core/text/numbers.ts'
import type { PredictionOutcome } from '../../../../tools/study/analysis/predictions.ts'
import type { StudyEvent } from '../../../../tools/study/events.ts'
import { contrastsText, expectedText, timeText, whenText } from '../../../../tools/study/text.ts'
import type { Colors } from '../../io.ts'

/** A line for each prediction, below the time of registration and the hash. */
export function predictionsText(
  { predictions, sha256, at, ended, changes }: Extract<StudyEvent, { kind: 'predictions' }>,
  { bold, dim, yellow }: Colors,
): string {
  const registered =
    at === null || ended === null
      ? 'are registered when the study starts'
      : `registered ${timeText(at)}, ${ended > 0 ? yellow(whenText({ ended })) : whenText({ ended })}`
  const earlier = `${plural(changes, 'earlier registration')} ${changes === 1 ? 'stays' : 'stay'} in the results`
  return [
    `\n  ${bold('predictions')}  ${registered}${changes > 0 ? `; ${earlier}` : ''}`,
    dim(`    SHA-256 ${sha256}`),
    ...predictions.map((one) => `    ${one.question}: ${bold(expectedText(one))} ${dim(`(${contrastsText(one)})`)}`),
    ...(predictions.some(({ expect }) => expect === undefined)
      ? [dim('    Intervals: loss of the arm minus loss of its baseline, nats a token; negative is better.')]
      : []),
  ].join('\n')
}

/** How many predictions are held, not held and undecided, and how many were registered after the first result. */
export function resultsText(predictions: readonly PredictionOutcome[]): string {
  const corrected = predictions.filter(({ result, uncorrected }) => uncorrected !== result).length
  const parts = (['held', 'not held', 'undecided'] as const).flatMap((result) => {
    const count = predictions.filter((one) => one.result === result).length
    const alone = result === 'undecided' && corrected > 0 ? ` (${corrected} decided by the interval alone, °)` : ''
    return count > 0 ? [`${count} ${result}${alone}`] : []
  })
  const late = predictions.filter(({ registered }) => registered?.ended !== 0).length
  return `${parts.join(', ')}${late > 0 ? `; ${late} not registered before the first result` : ''}`
}
