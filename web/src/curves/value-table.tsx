/** The values of a card as a table, for exact numbers and for screen readers. */
import { max, min } from 'd3-array'
import { metricName } from '../../../src/core/text/metrics.ts'
import type { XAxis } from '../../../src/faces/watch/api.ts'
import { Swatch } from '../runs/swatch.tsx'
import { formatValue } from '../shared/format-value.ts'
import type { Line } from './drawing/lines.ts'
import { axisTitles, exactXText } from './drawing/ticks.ts'

interface ValueTableProps {
  readonly metric: string
  readonly axis: XAxis
  readonly lines: readonly Line[]
}

export function ValueTable({ metric, axis, lines }: ValueTableProps) {
  const isSmoothed = lines.some(({ raw }) => raw !== undefined)
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: a scrollable element must be reachable by keys
    <section class="value-table" tabIndex={0} aria-label={`${metricName(metric)} as a table`}>
      <table>
        {isSmoothed && <caption>Smoothed, like the lines</caption>}
        <thead>
          <tr>
            <th scope="col">Run</th>
            <th scope="col">Last</th>
            <th scope="col">at {axisTitles[axis].toLowerCase()}</th>
            <th scope="col">Minimum</th>
            <th scope="col">Maximum</th>
          </tr>
        </thead>
        <tbody>
          {lines.map((line) => {
            const values = line.y.filter((value) => value !== null)
            const last = line.y.findLastIndex((value) => value !== null)
            return (
              <tr key={line.run}>
                <th scope="row">
                  <Swatch run={line.run} style={line.style} /> {line.name}
                </th>
                <td>{formatValue(line.y[last])}</td>
                <td>{last < 0 ? '' : exactXText(axis, line.x[last] as number)}</td>
                <td>{formatValue(min(values))}</td>
                <td>{formatValue(max(values))}</td>
              </tr>
            )
          })}
        </tbody>
      </table>
    </section>
  )
}
