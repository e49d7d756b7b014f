/**
 * Kernels of Adafactor, which make pass after pass over blocks of rows. Loops take two rows at a time, because a core
 * reads two streams of memory faster than one. An odd last row is paired with itself times 0.
 */

/** Number that is added to squared gradients: ε₁ of Shazeer and Stern 2018. */
const FLOOR: f64 = 1e-30

/**
 * Adafactor on `count` consecutive matrices with consecutive state:
 *
 *   [rows] mean squares of rows, R · [columns] of columns, C    (kept from step to step)
 *   [rows] scale·√(mean R / R)    · [columns] 1/√C              (factors of the direction)
 *
 * The direction of an element is its gradient times the factors of its row and its column. Its mean square
 * needs the factors, and the update needs the mean square. So there are three passes over the gradient, and one over
 * the parameter. The state of a matrix with several blocks of rows also has the column sums of each block; the column
 * factors later replace the sums of the first block. Each pass is a separate kernel, because several threads may run
 * the blocks.
 */
export function adafactorMatrices(
  p: usize,
  g: usize,
  state: usize,
  count: u32,
  rows: u32,
  columns: u32,
  blockRows: u32,
  scale: f32,
  beta: f64,
  rate: f64,
  keep: f32,
): void {
  const blocks = Inlined.blocksOf(rows, blockRows)
  const bytes: usize = rows * columns * 4
  const stateBytes: usize = (2 * rows + (1 + blocks) * columns) * 4
  for (; count > 0; count--) {
    for (let i: u32 = 0; i < blocks; i++) adafactorSquares(g, state, rows, columns, blockRows, i, scale)
    adafactorFactors(state, rows, columns, blockRows, scale, beta)
    let squares: f64 = 0
    for (let i: u32 = 0; i < blocks; i++) squares += adafactorDirection(g, state, rows, columns, blockRows, i)
    const size = f32(rate / max<f64>(1, sqrt<f64>(squares / (f64(rows) * columns))))
    for (let i: u32 = 0; i < blocks; i++) adafactorUpdate(p, g, state, rows, columns, blockRows, i, size, keep)
    p += bytes
    g += bytes
    state += stateBytes
  }
}

/** Writes the sums over rows and over columns of (scale·g)² for a block of rows. */
export function adafactorSquares(
  g: usize,
  state: usize,
  rows: u32,
  columns: u32,
  blockRows: u32,
  block: u32,
  scale: f32,
): void {
  const skipped = block * blockRows
  let rowSums: usize = state + (rows + columns + skipped) * 4
  const columnSums: usize = state + (2 * rows + (1 + block) * columns) * 4
  memory.fill(columnSums, 0, columns * 4)
  g += skipped * columns * 4
  for (let count = min(blockRows, rows - skipped); count > 0; ) {
    const pair = count > 1
    let h: usize = pair ? g + columns * 4 : g
    const other: f32 = pair ? scale : 0
    const a = f32x4.splat(scale)
    const b = f32x4.splat(other)
    let s0 = f32x4.splat(0)
    let s1 = f32x4.splat(0)
    let s2 = f32x4.splat(0)
    let s3 = f32x4.splat(0)
    let c = columnSums
    let left = columns
    for (; left >= 64; left -= 64) {
      s0 = Inlined.rowSquares16(s0, g, h, c, a, b)
      s1 = Inlined.rowSquares16(s1, g + 64, h + 64, c + 64, a, b)
      s2 = Inlined.rowSquares16(s2, g + 128, h + 128, c + 128, a, b)
      s3 = Inlined.rowSquares16(s3, g + 192, h + 192, c + 192, a, b)
      g += 256
      h += 256
      c += 256
    }
    for (; left >= 4; left -= 4) {
      s0 = Inlined.rowSquares4(s0, g, h, c, a, b)
      g += 16
      h += 16
      c += 16
    }
    const sums = f32x4.add(f32x4.add(s0, s1), f32x4.add(s2, s3))
    let first = f32x4.extract_lane(sums, 0) + f32x4.extract_lane(sums, 1)
    let second = f32x4.extract_lane(sums, 2) + f32x4.extract_lane(sums, 3)
    for (; left > 0; left--) {
      const x = load<f32>(g) * scale
      const y = load<f32>(h) * other
      first += x * x
      second += y * y
      store<f32>(c, load<f32>(c) + (x * x + y * y))
      g += 4
      h += 4
      c += 4
    }
    store<f32>(rowSums, first)
    if (pair) store<f32>(rowSums, second, 4)
    rowSums += 8
    g = h
    count -= pair ? 2 : 1
  }
}

/** Updates R and C from the sums of squares, and replaces the sums by the factors. */
export function adafactorFactors(state: usize, rows: u32, columns: u32, blockRows: u32, scale: f32, beta: f64): void {
  const rowMeans = state
  const columnMeans: usize = rowMeans + rows * 4
  const rowFactors: usize = columnMeans + columns * 4
  const columnFactors: usize = rowFactors + rows * 4
  let total: f64 = 0
  for (let i: usize = 0, end: usize = rows * 4; i < end; i += 4) {
    const mean = f64(load<f32>(rowFactors + i)) / columns + FLOOR
    const average = f32(beta * load<f32>(rowMeans + i) + (1 - beta) * mean)
    store<f32>(rowMeans + i, average)
    total += average
  }
  for (let i: usize = 0, end: usize = rows * 4; i < end; i += 4)
    store<f32>(rowFactors + i, f32(scale * sqrt<f64>(total / rows / load<f32>(rowMeans + i))))
  const blocks = Inlined.blocksOf(rows, blockRows)
  for (let i: usize = 0, end: usize = columns * 4; i < end; i += 4) {
    let sum: f64 = 0
    for (let block: u32 = 0, at: usize = columnFactors + i; block < blocks; block++, at += end) sum += load<f32>(at)
    const average = f32(beta * load<f32>(columnMeans + i) + (1 - beta) * (sum / rows + FLOOR))
    store<f32>(columnMeans + i, average)
    store<f32>(columnFactors + i, f32(1 / sqrt<f64>(average)))
  }
}

/** The sum of squares of the direction for a block of rows, in float64. */
export function adafactorDirection(g: usize, state: usize, rows: u32, columns: u32, blockRows: u32, block: u32): f64 {
  const skipped = block * blockRows
  let rowFactors: usize = state + (rows + columns + skipped) * 4
  const columnFactors: usize = state + (2 * rows + columns) * 4
  g += skipped * columns * 4
  let sum: f64 = 0
  for (let count = min(blockRows, rows - skipped); count > 0; ) {
    const pair = count > 1
    let h: usize = pair ? g + columns * 4 : g
    const first = load<f32>(rowFactors)
    const second: f32 = pair ? load<f32>(rowFactors, 4) : 0
    const a = f32x4.splat(first)
    const b = f32x4.splat(second)
    let s0 = f32x4.splat(0)
    let s1 = f32x4.splat(0)
    let s2 = f32x4.splat(0)
    let s3 = f32x4.splat(0)
    let c = columnFactors
    let left = columns
    for (; left >= 64; left -= 64) {
      s0 = Inlined.direction16(s0, g, h, c, a, b)
      s1 = Inlined.direction16(s1, g + 64, h + 64, c + 64, a, b)
      s2 = Inlined.direction16(s2, g + 128, h + 128, c + 128, a, b)
      s3 = Inlined.direction16(s3, g + 192, h + 192, c + 192, a, b)
      g += 256
      h += 256
      c += 256
    }
    for (; left >= 4; left -= 4) {
      s0 = Inlined.direction4(s0, g, h, c, a, b)
      g += 16
      h += 16
      c += 16
    }
    sum += Inlined.sum4(f32x4.add(f32x4.add(s0, s1), f32x4.add(s2, s3)))
    for (; left > 0; left--) {
      const x: f64 = load<f32>(g) * first * load<f32>(c)
      const y: f64 = load<f32>(h) * second * load<f32>(c)
      sum += x * x + y * y
      g += 4
      h += 4
      c += 4
    }
    rowFactors += 8
    g = h
    count -= pair ? 2 : 1
  }
  return sum
}

/** Updates a block of rows: p ← keep·p − size·direction. */
export function adafactorUpdate(
  p: usize,
  g: usize,
  state: usize,
  rows: u32,
  columns: u32,
  blockRows: u32,
  block: u32,
  size: f32,
  keep: f32,
): void {
  const skipped = block * blockRows
  let rowFactors: usize = state + (rows + columns + skipped) * 4
  const columnFactors: usize = state + (2 * rows + columns) * 4
  p += skipped * columns * 4
  g += skipped * columns * 4
  const k = f32x4.splat(keep)
  for (let count = min(blockRows, rows - skipped); count > 0; ) {
    const pair = count > 1
    let q: usize = pair ? p + columns * 4 : p
    let h: usize = pair ? g + columns * 4 : g
    const first = load<f32>(rowFactors) * size
    const second: f32 = pair ? load<f32>(rowFactors, 4) * size : 0
    const otherKeep: f32 = pair ? keep : 1
    const a = f32x4.splat(first)
    const b = f32x4.splat(second)
    const l = f32x4.splat(otherKeep)
    let c = columnFactors
    let left = columns
    for (; left >= 64; left -= 64) {
      Inlined.update16(p, q, g, h, c, a, b, k, l)
      Inlined.update16(p + 64, q + 64, g + 64, h + 64, c + 64, a, b, k, l)
      Inlined.update16(p + 128, q + 128, g + 128, h + 128, c + 128, a, b, k, l)
      Inlined.update16(p + 192, q + 192, g + 192, h + 192, c + 192, a, b, k, l)
      p += 256
      q += 256
      g += 256
      h += 256
      c += 256
    }
    for (; left >= 4; left -= 4) {
      Inlined.update4(p, g, c, a, k)
      Inlined.update4(q, h, c, b, l)
      p += 16
      q += 16
      g += 16
      h += 16
      c += 16
    }
    for (; left > 0; left--) {
      store<f32>(p, load<f32>(p) * keep - load<f32>(g) * first * load<f32>(c))
      store<f32>(q, load<f32>(q) * otherKeep - load<f32>(h) * second * load<f32>(c))
      p += 4
      q += 4
      g += 4
      h += 4
      c += 4
    }
    rowFactors += 8
    p = q
    g = h
    count -= pair ? 2 : 1
  }
}

/** Adafactor on `count` consecutive vectors with consecutive second moments. */
export function adafactorVectors(
  p: usize,
  g: usize,
  v: usize,
  count: u32,
  length: u32,
  scale: f32,
  beta: f64,
  rate: f64,
  keep: f32,
): void {
  const decay = f32(beta)
  const rest = f32(1 - beta)
  for (; count > 0; count--) {
    let squares: f64 = 0
    for (let i: u32 = 0; i < length; i++) {
      const gradient = load<f32>(g + i * 4) * scale
      const second = load<f32>(v + i * 4) * decay + (gradient * gradient + f32(FLOOR)) * rest
      store<f32>(v + i * 4, second)
      squares += (f64(gradient) * gradient) / second
    }
    const size = f32(rate / max<f64>(1, sqrt<f64>(squares / length)))
    for (let i: u32 = 0; i < length; i++) {
      const direction = (load<f32>(g + i * 4) * scale) / sqrt<f32>(load<f32>(v + i * 4))
      store<f32>(p + i * 4, load<f32>(p + i * 4) * keep - direction * size)
    }
    p += length * 4
    g += length * 4
    v += length * 4
  }
}

/**
 * Inlined bodies of main loops; the number in a name is how many elements of each array it processes.
 * They are in a class, because AssemblyScript inlines decorated functions and TypeScript allows decorators only on
 * methods.
 */
// biome-ignore lint/complexity/noStaticOnlyClass: see above
class Inlined {
  /** The sum of the four lanes, in float64. */
  @inline
  static sum4(x: v128): f64 {
    const high = f64x2.promote_low_f32x4(v128.shuffle<f32>(x, x, 2, 3, 2, 3))
    const sums = f64x2.add(f64x2.promote_low_f32x4(x), high)
    return f64x2.extract_lane(sums, 0) + f64x2.extract_lane(sums, 1)
  }

  @inline
  static blocksOf(rows: u32, blockRows: u32): u32 {
    return (rows + blockRows - 1) / blockRows
  }

  @inline
  static rowSquares16(sums: v128, g: usize, h: usize, c: usize, a: v128, b: v128): v128 {
    const first = Inlined.rowSquares4(sums, g, h, c, a, b)
    const second = Inlined.rowSquares4(first, g + 16, h + 16, c + 16, a, b)
    const third = Inlined.rowSquares4(second, g + 32, h + 32, c + 32, a, b)
    return Inlined.rowSquares4(third, g + 48, h + 48, c + 48, a, b)
  }

  /** Adds to four column sums and to the sums of two rows, which have two lanes each. */
  @inline
  static rowSquares4(sums: v128, g: usize, h: usize, c: usize, a: v128, b: v128): v128 {
    const x = f32x4.mul(v128.load(g), a)
    const y = f32x4.mul(v128.load(h), b)
    const x2 = f32x4.mul(x, x)
    const y2 = f32x4.mul(y, y)
    v128.store(c, f32x4.add(v128.load(c), f32x4.add(x2, y2)))
    const half = f32x4.add(sums, v128.shuffle<f32>(x2, y2, 0, 1, 4, 5))
    return f32x4.add(half, v128.shuffle<f32>(x2, y2, 2, 3, 6, 7))
  }

  @inline
  static direction16(sums: v128, g: usize, h: usize, c: usize, a: v128, b: v128): v128 {
    const first = Inlined.direction4(sums, g, h, c, a, b)
    const second = Inlined.direction4(first, g + 16, h + 16, c + 16, a, b)
    const third = Inlined.direction4(second, g + 32, h + 32, c + 32, a, b)
    return Inlined.direction4(third, g + 48, h + 48, c + 48, a, b)
  }

  @inline
  static direction4(sums: v128, g: usize, h: usize, c: usize, a: v128, b: v128): v128 {
    const column = v128.load(c)
    const x = f32x4.mul(f32x4.mul(v128.load(g), a), column)
    const y = f32x4.mul(f32x4.mul(v128.load(h), b), column)
    return f32x4.add(f32x4.add(sums, f32x4.mul(x, x)), f32x4.mul(y, y))
  }

  @inline
  static update16(p: usize, q: usize, g: usize, h: usize, c: usize, a: v128, b: v128, k: v128, l: v128): void {
    Inlined.update4(p, g, c, a, k)
    Inlined.update4(q, h, c, b, l)
    Inlined.update4(p + 16, g + 16, c + 16, a, k)
    Inlined.update4(q + 16, h + 16, c + 16, b, l)
    Inlined.update4(p + 32, g + 32, c + 32, a, k)
    Inlined.update4(q + 32, h + 32, c + 32, b, l)
    Inlined.update4(p + 48, g + 48, c + 48, a, k)
    Inlined.update4(q + 48, h + 48, c + 48, b, l)
  }

  @inline
  static update4(p: usize, g: usize, c: usize, a: v128, keep: v128): void {
    const step = f32x4.mul(f32x4.mul(v128.load(g), a), v128.load(c))
    v128.store(p, f32x4.sub(f32x4.mul(v128.load(p), keep), step))
  }
}
