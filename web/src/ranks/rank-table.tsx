/** The table of ranks: the time of a step as a stacked bar, its parts in milliseconds, and the load of the experts. */
import { fixed, significant } from '../../../src/core/text/numbers.ts'
import { type Part, partNames, parts, type RankRow, type RankTable } from './rank-rows.ts'

const milliseconds = (ms: number): string => (ms < 0.0005 ? '0' : significant(ms))

export function Legend() {
  return (
    <ul class="ranks-legend" aria-hidden="true">
      {parts.map((part) => (
        <li key={part}>
          <i class={`part part-${part}`} /> {partNames[part]}
        </li>
      ))}
    </ul>
  )
}

export function RankTimes({ table }: { readonly table: RankTable }) {
  const { rows, longest, maxLoad } = table
  const hosts = new Set(rows.map(({ host }) => host))
  const named = hosts.size > 1
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: keys scroll it on a narrow screen
    <section class="ranks-scroll" aria-label="Times by rank" tabIndex={0}>
      <table class="ranks-table">
        <thead>
          <tr>
            <th scope="col">Rank</th>
            {named && <th scope="col">Host</th>}
            <th scope="col" class="ranks-bar-head">
              Time of a step
            </th>
            {parts.map((part) => (
              <th key={part} scope="col" title={hints[part]}>
                {partNames[part]}
              </th>
            ))}
            <th scope="col" title="Mean time that the other ranks wait for this one">
              Waited for
            </th>
            {maxLoad !== null && (
              <th
                scope="col"
                class="ranks-load-head"
                title="Assignments that the experts of the rank compute, over the mean of all ranks"
              >
                Load
              </th>
            )}
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={row.rank} class={row === table.slowest ? 'slow' : undefined}>
              <th scope="row" title={row.process}>
                {row.rank}
              </th>
              {named && <td class="ranks-host">{row.host}</td>}
              <td class="ranks-bar">
                <Bar row={row} longest={longest} />
              </td>
              {parts.map((part) => (
                <td key={part}>{milliseconds(row.times[part])}</td>
              ))}
              <td>{milliseconds(row.waitedFor)}</td>
              {maxLoad !== null && (
                <td class="ranks-load">
                  <Load load={row.load ?? 0} most={maxLoad} />
                </td>
              )}
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  )
}

const hints: Readonly<Record<Part, string>> = {
  compute: 'Everything but communication, ms',
  allToAll: 'Blocked while rows travel to experts and back, ms',
  allReduce: 'Blocked while gradients, parameters and statistics travel, ms',
  wait: 'Blocked until the last rank has come to an exchange, ms',
}

function Bar({ row, longest }: { readonly row: RankRow; readonly longest: number }) {
  const text = parts.map((part) => `${partNames[part]} ${milliseconds(row.times[part])} ms`).join(', ')
  return (
    <div class="stack" role="img" aria-label={text} title={`${milliseconds(row.step)} ms: ${text}`}>
      {parts.map((part) => (
        <i
          key={part}
          class={`part part-${part}`}
          style={{ width: `${longest > 0 ? (100 * row.times[part]) / longest : 0}%` }}
        />
      ))}
    </div>
  )
}

/** A bar from zero, with a mark at the mean. */
function Load({ load, most }: { readonly load: number; readonly most: number }) {
  const scale = 100 / Math.max(most, 1)
  return (
    <div class="load">
      <span class="load-bar">
        <i style={{ width: `${scale * load}%` }} />
        <b style={{ left: `${scale}%` }} />
      </span>
      {fixed(load, 2)}×
    </div>
  )
}
