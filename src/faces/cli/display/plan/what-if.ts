/** What-if questions as text. */

import { titledTable } from '../../../../core/text/columns.ts'
import { bytes, count, fixed, percent, shortTime } from '../../../../core/text/numbers.ts'
import { layoutName } from '../../../../tools/plan/inputs/layout.ts'
import type { WhatIf } from '../../../../tools/plan/what-if.ts'
import type { Colors } from '../../io.ts'
import { amount } from './training-cost.ts'

/**
 * A table with the best layout for each value of a question.
 * @param columns columns of the terminal, into which the table fits
 */
export function whatIfText({ field, cases }: WhatIf, name: string, colors: Colors, columns = Infinity): string {
  const [first] = cases
  const reference = first?.plan.best[0]?.time.stepSeconds
  const interval = first?.plan.best[0]?.interval
  const isPriced = cases.some(({ plan }) => plan.budget?.price !== undefined)
  const priced = (price: string): string[] => (isPriced ? [price] : [])
  const rows = cases.map(({ value, plan }) => {
    const [best] = plan.best
    if (!best) {
      const [nearest] = plan.rejected
      const lacking = nearest ? `does not fit: lacks ${bytes(nearest.lackingBytes)}` : 'does not fit'
      return [value, lacking, '', '', '', '', '', ...priced('')]
    }
    return [
      value,
      layoutName(best.layout),
      bytes(best.memory.deviceBytes),
      shortTime(best.time.stepSeconds),
      reference === undefined ? '' : `${fixed(best.time.stepSeconds / reference, 2)}×`,
      count(best.tokensPerSecond),
      percent(best.dropped),
      ...priced(plan.budget?.price === undefined ? '' : amount(plan.budget.price)),
    ]
  })
  const titles = [field, 'best layout', 'memory', 'step', 'vs first', 'tokens/s', 'dropped', ...priced('price')]
  const on = first ? ` on ${first.plan.cluster.name}` : ''
  return [
    '',
    `  ${colors.bold(`${name}${on}: what if ${field} changes`)}`,
    '',
    ...titledTable(titles, rows, 'llrrrrrr', colors, columns),
    '',
    ...(interval
      ? [
          `  80 % interval: steps within a factor of ${fixed(interval.time, 2)}; ratios between rows are more certain.`,
          '',
        ]
      : []),
    '',
  ].join('\n')
}
