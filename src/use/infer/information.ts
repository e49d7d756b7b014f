/**
 * Entropy and mutual information of two labels, from a table of counts.
 *
 * All values are plug-in estimates: probabilities are shares of counts. They are too large on finite counts, by
 * about (rows − 1)(columns − 1) / 2n nats if the labels are independent (Miller, "Note on the bias of
 * information estimates", 1955). Assignments of one text are not independent draws, so no correction is
 * subtracted; callers compare with the same estimate after shuffling.
 */

/** Counts of pairs of labels [rows, columns]. */
export interface Table {
  readonly rows: number
  readonly columns: number
  readonly counts: Float64Array
}

export const emptyTable = (rows: number, columns: number): Table => ({
  rows,
  columns,
  counts: new Float64Array(rows * columns),
})

/** Sums over rows [columns]. */
export function columnSums({ columns, counts }: Table): Float64Array {
  const sums = new Float64Array(columns)
  for (let i = 0; i < counts.length; i++) sums[i % columns] = (sums[i % columns] as number) + (counts[i] as number)
  return sums
}

/** Sums over columns [rows]. */
export function rowSums({ rows, columns, counts }: Table): Float64Array {
  const sums = new Float64Array(rows)
  for (let row = 0; row < rows; row++)
    for (let column = 0; column < columns; column++)
      sums[row] = (sums[row] as number) + (counts[row * columns + column] as number)
  return sums
}

/** −Σ p log p, nats; 0 for an empty table. */
export function entropy(counts: ArrayLike<number>): number {
  let total = 0
  for (let i = 0; i < counts.length; i++) total += counts[i] as number
  let nats = 0
  for (let i = 0; i < counts.length; i++) {
    const count = counts[i] as number
    if (count > 0) nats -= (count / total) * Math.log(count / total)
  }
  return nats
}

/** Σ p(r, c) log p(r, c) / (p(r) p(c)), nats (Cover and Thomas, eq. 2.28); 0 for an empty table. */
export function mutualInformation(table: Table): number {
  const { columns, counts } = table
  const inRow = rowSums(table)
  const inColumn = columnSums(table)
  const total = inRow.reduce((sum, count) => sum + count, 0)
  let nats = 0
  for (let i = 0; i < counts.length; i++) {
    const count = counts[i] as number
    if (count === 0) continue
    const independent = ((inRow[Math.floor(i / columns)] as number) * (inColumn[i % columns] as number)) / total
    nats += (count / total) * Math.log(count / independent)
  }
  // Rounding may give a value slightly below zero.
  return Math.max(0, nats)
}

/** The table whose row g is the sum of the rows with label g; rows with a negative label are omitted. */
export function mergeRows({ columns, counts }: Table, label: ArrayLike<number>, labels: number): Table {
  const merged = emptyTable(labels, columns)
  for (let i = 0; i < counts.length; i++) {
    const group = label[Math.floor(i / columns)] as number
    if (group < 0) continue
    const at = group * columns + (i % columns)
    merged.counts[at] = (merged.counts[at] as number) + (counts[i] as number)
  }
  return merged
}
