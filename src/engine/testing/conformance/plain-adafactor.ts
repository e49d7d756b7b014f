/**
 * Adafactor (Shazeer and Stern 2018) in float64: algorithm 4 for a matrix, with means in place of sums (V = RC / mean
 * R), algorithm 5 for a vector; ε₁ = 1e-30, d = 1.
 */
export class PlainAdafactor {
  /** Moving averages of mean squares, by row, then by column; for a vector, of the squares themselves. */
  readonly means: Float64Array
  private readonly rows: number | null
  private readonly columns: number

  constructor(rows: number | null, columns: number) {
    this.rows = rows
    this.columns = columns
    this.means = new Float64Array((rows ?? 0) + columns)
  }

  update(p: Float64Array, g: Float64Array, beta: number, rate: number, keep: number): void {
    const { means, columns } = this
    const rows = this.rows ?? 0
    const next = new Float64Array(means.length)
    g.forEach((x, k) => {
      const square = x * x + 1e-30
      const [row, column] = [Math.floor(k / columns), rows + (k % columns)]
      if (rows > 0) next[row] = (next[row] as number) + square / columns
      next[column] = (next[column] as number) + square / Math.max(1, rows)
    })
    for (let i = 0; i < means.length; i++) means[i] = beta * (means[i] as number) + (1 - beta) * (next[i] as number)
    const meanRow = means.subarray(0, rows).reduce((sum, mean) => sum + mean, 0) / rows
    const u = g.map((x, k) => {
      const column = means[rows + (k % columns)] as number
      return x / Math.sqrt(rows > 0 ? ((means[Math.floor(k / columns)] as number) * column) / meanRow : column)
    })
    const size = rate / Math.max(1, Math.sqrt(u.reduce((sum, x) => sum + x * x, 0) / u.length))
    p.forEach((value, k) => {
      p[k] = keep * value - size * (u[k] as number)
    })
  }
}
