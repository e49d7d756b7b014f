/**
 * Size of the factored second moment of a parameter: row and column means for each matrix (one per expert), all
 * elements for a vector (Shazeer & Stern 2018, section 3).
 *
 * @param shape the last two dimensions are the rows and columns of the matrix
 */
export function factoredSize(shape: readonly number[]): number {
  const size = shape.reduce((product, length) => product * length, 1)
  const [rows, columns] = shape.slice(-2)
  if (rows === undefined || columns === undefined) return size
  return (size / (rows * columns)) * (rows + columns)
}
