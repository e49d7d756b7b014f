/**
 * Numbers in a factored second moment of a parameter: a row and a column mean of each matrix (every expert's has its
 * own), all of a vector (Shazeer & Stern 2018, section 3).
 *
 * @param shape its last two dimensions are the matrix
 */
export function factoredSize(shape: readonly number[]): number {
  const size = shape.reduce((product, length) => product * length, 1)
  const [rows, columns] = shape.slice(-2)
  if (rows === undefined || columns === undefined) return size
  return (size / (rows * columns)) * (rows + columns)
}
