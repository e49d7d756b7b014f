/** The differences of a card as a table: the last one of each arm, with its interval and the number of its pairs. */
import { metricName } from '../../../../src/core/text/metrics.ts'
import type { XAxis } from '../../../../src/faces/watch/api.ts'
import { formatValue } from '../../format-value.ts'
import { Swatch } from '../../runs/swatch.tsx'
import type { Line } from '../drawing/lines.ts'
import { axisTitles, exactXText } from '../drawing/ticks.ts'

interface DifferenceTableProps {
  readonly metric: string
  readonly axis: XAxis
  readonly lines: readonly Line[]
  /** Name of the baseline. */
  readonly minus: string
}

export function DifferenceTable({ metric, axis, lines, minus }: DifferenceTableProps) {
  const isSmoothed = lines.some(({ raw }) => raw !== undefined)
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: a scrollable element must be reachable by keys
    <section class="value-table" tabIndex={0} aria-label={`${metricName(metric)} minus ${minus} as a table`}>
      <table>
        <caption>
          Arm minus {minus}, mean over pairs{isSmoothed && '; smoothed, like the lines'}
        </caption>
        <thead>
          <tr>
            <th scope="col">Arm</th>
            <th scope="col">Last</th>
            <th scope="col">95 % interval</th>
            <th scope="col">Pairs</th>
            <th scope="col">at {axisTitles[axis].toLowerCase()}</th>
          </tr>
        </thead>
        <tbody>
          {lines.map((line) => (
            <Row key={line.run} axis={axis} line={line} />
          ))}
        </tbody>
      </table>
    </section>
  )
}

function Row({ axis, line: { run, style, name, x, y, band } }: { readonly axis: XAxis; readonly line: Line }) {
  const last = x.length - 1
  const [low, high] = [band?.low[last] ?? null, band?.high[last] ?? null]
  return (
    <tr>
      <th scope="row">
        <Swatch run={run} style={style} /> {name}
      </th>
      <td>{formatValue(y[last])}</td>
      <td>{low === null || high === null ? 'none' : `${formatValue(low)} to ${formatValue(high)}`}</td>
      <td>{band?.count[last] ?? 0}</td>
      <td>{exactXText(axis, x[last] ?? 0)}</td>
    </tr>
  )
}
