/** One note about all long warm-ups of a study, before it trains. Short branches of a run have its steps of warm-up. */
import { groups } from 'd3-array'
import { joinWords } from '../../../../core/text/numbers.ts'
import { warmsUpLong } from '../../../../train/run/notices.ts'
import type { Cell } from '../../contract.ts'

/** Largest number of arms that are named with one warm-up. */
const MAX_NAMED = 5

/** The arms whose learning rate rises for more than a quarter of the steps; null if there is none. */
export function warmupNote(cells: readonly Cell[]): string | null {
  const long = cells.filter(({ config }) => warmsUpLong(config))
  const byWarmup = groups(long, ({ config: { train } }) => `${train.schedule.warmup} of ${train.steps} steps`)
  if (byWarmup.length === 0) return null
  const listed = byWarmup.map(([warmup, own]) => {
    const arms = [...new Set(own.map(({ arm }) => arm))]
    const named = arms.length > MAX_NAMED ? [...arms.slice(0, MAX_NAMED), `${arms.length - MAX_NAMED} more`] : arms
    return `${warmup} in ${joinWords(named)}`
  })
  return (
    `the learning rate rises for more than a quarter of the steps: ${listed.join('; ')}; these losses are those of a ` +
    'lower rate than train.schedule.learningRate (set train.schedule.warmup to at most a quarter of train.steps)'
  )
}
