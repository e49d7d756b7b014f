/** A card in numbers, for those who cannot see it or want to know exactly. */
import type { XAxis } from '../../../src/watch/api.ts'
import { measured } from '../measured.ts'
import { Swatch } from '../runs/swatch.tsx'
import type { Line } from './drawing/lines.ts'
import { axisTitles, xText } from './drawing/ticks.ts'

interface ValueTableProps {
  readonly metric: string
  readonly axis: XAxis
  readonly lines: readonly Line[]
}

export function ValueTable({ metric, axis, lines }: ValueTableProps) {
  const isSmoothed = lines.some(({ raw }) => raw !== undefined)
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keys
    <section class="value-table" tabIndex={0} aria-label={`${metric} as a table`}>
      <table>
        {isSmoothed && <caption>Smoothed, as the lines are</caption>}
        <thead>
          <tr>
            <th scope="col">Run</th>
            <th scope="col">Last</th>
            <th scope="col">at {axisTitles[axis].toLowerCase()}</th>
            <th scope="col">Least</th>
            <th scope="col">Greatest</th>
          </tr>
        </thead>
        <tbody>
          {lines.map((line) => {
            const known = line.y.filter((value) => value !== null)
            const last = line.y.findLastIndex((value) => value !== null)
            return (
              <tr key={line.run}>
                <th scope="row">
                  <Swatch run={line.run} style={line.style} /> {line.name}
                </th>
                <td>{measured(line.y[last])}</td>
                <td>{last < 0 ? '' : xText(axis, line.x[last] as number)}</td>
                <td>{measured(least(known))}</td>
                <td>{measured(greatest(known))}</td>
              </tr>
            )
          })}
        </tbody>
      </table>
    </section>
  )
}

const least = (values: readonly number[]) =>
  values.reduce((one, other) => Math.min(one, other), Number.POSITIVE_INFINITY)
const greatest = (values: readonly number[]) =>
  values.reduce((one, other) => Math.max(one, other), Number.NEGATIVE_INFINITY)
