/**
 * The order of rows of a head in files of llama.cpp, for architectures that it rotates in pairs (x[2i], x[2i + 1]).
 * Choir, as transformers, rotates (x[i], x[i + d/2]). So the d rows of a head are in the order 0, d/2, 1, d/2 + 1, ...
 */

/** Reorders rows from their order in files to ours. @param rows [n·head, columns] */
export const deinterleaved = (rows: Float32Array, columns: number, head: number): Float32Array =>
  reordered(rows, columns, head, (from, to, into) => into.set(rows.subarray(from, from + columns), to))

/** Reorders rows from our order to the order in files. @param rows [n·head, columns] */
export const interleaved = (rows: Float32Array, columns: number, head: number): Float32Array =>
  reordered(rows, columns, head, (from, to, into) => into.set(rows.subarray(to, to + columns), from))

/** @param move Called for each row with the places of its first number in a file, and in our order. */
function reordered(
  rows: Float32Array,
  columns: number,
  head: number,
  move: (inFile: number, ours: number, into: Float32Array) => void,
): Float32Array {
  const into = new Float32Array(rows.length)
  for (let row = 0; row * columns < rows.length; row++) {
    const within = row % head
    const ours = row - within + (within >> 1) + (within % 2) * (head / 2)
    move(row * columns, ours * columns, into)
  }
  return into
}
