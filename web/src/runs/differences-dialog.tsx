/** Differences between the shown runs: one row per field, one column per run. */
import { dash } from '../../../src/core/text/numbers.ts'
import { shownRuns } from '../shared/store.ts'
import { Dialog } from '../shell/dialog.tsx'
import { type Difference, differences } from './differences.ts'
import { Swatch } from './swatch.tsx'
import { differencesShown } from './table-state.ts'

/** A table with more columns would not be readable. */
const MAX_RUNS = 24

export function DifferencesDialog() {
  const all = shownRuns.value
  const compared = all.slice(0, MAX_RUNS)
  const rows = differences(compared)
  const close = () => {
    differencesShown.value = false
  }
  return (
    <Dialog title={`What differs between ${compared.length} runs`} close={close}>
      {all.length > MAX_RUNS && (
        <p class="quiet">
          The first {MAX_RUNS} of the {all.length} shown runs.
        </p>
      )}
      {rows.length === 0 && <p>Their configurations are the same.</p>}
      {rows.length > 0 && rows.every(({ seed }) => seed) && (
        <p>Only the seed differs: these runs repeat one experiment.</p>
      )}
      {rows.length > 0 && (
        // biome-ignore lint/a11y/noNoninteractiveTabindex: a part that scrolls takes the keyboard
        <section class="scrolls" aria-label="Table of differences" tabIndex={0}>
          <table class="differences">
            <thead>
              <tr>
                <th scope="col">Field</th>
                {compared.map(({ id, name }) => (
                  <th key={id} scope="col" title={name}>
                    <Swatch run={id} />
                    <span>{name}</span>
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {rows.map((row) => (
                <DifferenceRow key={row.field} row={row} />
              ))}
            </tbody>
          </table>
        </section>
      )}
    </Dialog>
  )
}

function DifferenceRow({ row: { field, values, seed } }: { readonly row: Difference }) {
  return (
    <tr>
      <th scope="row">
        {field} {seed && <em class="tag">seed</em>}
      </th>
      {values.map((value, index) => (
        <td key={index}>{value === undefined ? dash : String(value)}</td>
      ))}
    </tr>
  )
}
