/**
 * Kernels on rows of float32. A call processes a range of rows on one thread. Rows whose bytes of an element are
 * given, 2 or 4, may be bfloat16 in memory; all kernels compute in float32.
 *
 * Counts and strides are in elements, addresses in bytes; alignment is not required. A row is processed while it
 * is in the L1 cache, so a second pass over a row is cheap, unlike a second pass over the array. Sums run in
 * lanes whose order depends only on the width, so a row has the same bits wherever the range of rows was cut.
 * Absent arrays are passed as `absent`, because 0 is a valid address.
 */
import { absent, addOne, addTwo, dot, gradientRow, largestOf, normRow, scaleRow, squares, weightedDot } from './row'

/**
 * y = x·inverse·weight with inverse[r] = 1/√(mean x[r]² + ε); x and y [rows, width]. `y` may be `x`.
 *
 * The result is correct for |x| up to 1e18 at any width. For larger |x|, at the latest from 1.9e19, the sum of squares
 * overflows float32, and the inverse and the row become 0, as in ONNX Runtime. A NaN makes its row NaN.
 */
export function rmsNorm(
  x: usize,
  weight: usize,
  y: usize,
  yBytes: u32,
  inverse: usize,
  rows: u32,
  width: u32,
  epsilon: f32,
): void {
  for (; rows > 0; rows--) {
    const r = <f32>(1 / sqrt<f64>(squares(x, width) / <f64>width + epsilon))
    store<f32>(inverse, r)
    if (yBytes === 4) normRow<f32>(x, weight, y, width, r)
    else normRow<u16>(x, weight, y, width, r)
    x += width * 4
    y += width * yBytes
    inverse += 4
  }
}

/**
 * The gradient of `rmsNorm` from dy, x [rows, width] and its inverse r [rows]: with
 * c = mean over the row of dy·x·weight,
 * dx = r·(dy·weight) − r³·c·x (+ addend), and dWeight[j] = Σ r·dy·x over these rows, in order.
 * `dx` may be `dy` or `addend`; `addend` may be absent.
 */
export function rmsNormGradient(
  dy: usize,
  x: usize,
  weight: usize,
  inverse: usize,
  addend: usize,
  dx: usize,
  dWeight: usize,
  rows: u32,
  width: u32,
): void {
  memory.fill(dWeight, 0, width * 4)
  const bytes: usize = width * 4
  for (; rows > 0; rows--) {
    const r = load<f32>(inverse)
    const wide: f64 = r
    // The factor is computed in float64, because r³ would underflow in float32 for large x.
    const along = <f32>((wide * wide * wide * weightedDot(dy, x, weight, width)) / <f64>width)
    gradientRow(dy, x, weight, addend, dx, dWeight, width, r, along)
    if (addend !== absent) addend += bytes
    dy += bytes
    x += bytes
    dx += bytes
    inverse += 4
  }
}

/** out[r] = weight[r] · x[index[r]], or x[index[r]] without weight. Traps on an index not below xRows. */
export function gatherRows(
  x: usize,
  xBytes: u32,
  xRows: u32,
  index: usize,
  weight: usize,
  out: usize,
  outBytes: u32,
  rows: u32,
  width: u32,
): void {
  for (; rows > 0; rows--) {
    const from = rowOf(x, xRows, index, width * xBytes)
    if (weight === absent && xBytes === outBytes) {
      memory.copy(out, from, width * outBytes)
    } else {
      const w: f32 = weight === absent ? 1 : load<f32>(weight)
      if (xBytes === 2 && outBytes === 2) scaleRow<u16, u16>(from, out, width, w)
      else if (xBytes === 2) scaleRow<u16, f32>(from, out, width, w)
      else scaleTo(from, out, outBytes, width, w)
      if (weight !== absent) weight += 4
    }
    index += 4
    out += width * outBytes
  }
}

/** to = scale · from, where `from` is float32 and `to` is float32 or bfloat16. */
function scaleTo(from: usize, to: usize, toBytes: u32, width: u32, scale: f32): void {
  if (toBytes === 2) scaleRow<f32, u16>(from, to, width, scale)
  else scaleRow<f32, f32>(from, to, width, scale)
}

/**
 * out[r] = gate[choice[r]] · occupied[r] · x[index[r]]; an absent `occupied` is 1. Traps on an index not below xRows,
 * and on a choice not below `gates`.
 */
export function gatherGatedRows(
  x: usize,
  xRows: u32,
  index: usize,
  gate: usize,
  gates: u32,
  choice: usize,
  occupied: usize,
  out: usize,
  outBytes: u32,
  rows: u32,
  width: u32,
): void {
  for (; rows > 0; rows--) {
    let weight = load<f32>(rowOf(gate, gates, choice, 4))
    if (occupied !== absent) {
      weight *= load<f32>(occupied)
      occupied += 4
    }
    scaleTo(rowOf(x, xRows, index, width * 4), out, outBytes, width, weight)
    index += 4
    choice += 4
    out += width * outBytes
  }
}

/**
 * out[t] = addend[t] + Σ_k weight[t, k] · kept[t, k] · rowsIn[slot[t, k]], added in the order of k; an absent addend
 * is 0, an absent weight or `kept` 1. A weight of 0 means a dropped assignment, whose slot and row are not read. Traps
 * on any other slot that is not below `rowCount`. `out` may be `addend`.
 */
export function combineRows(
  rowsIn: usize,
  rowBytes: u32,
  rowCount: u32,
  slot: usize,
  weight: usize,
  kept: usize,
  addend: usize,
  out: usize,
  tokens: u32,
  choices: u32,
  width: u32,
): void {
  const bytes: usize = width * 4
  for (; tokens > 0; tokens--) {
    // Rows are added two at a time, so that the sum is read and written half as often.
    let base = addend
    let waiting: usize = absent
    let waitingWeight: f32 = 0
    for (let k = choices; k > 0; k--) {
      let w: f32 = 1
      if (weight !== absent) {
        w = load<f32>(weight)
        weight += 4
      }
      if (kept !== absent) {
        w *= load<f32>(kept)
        kept += 4
      }
      if (w !== 0) {
        const row = rowOf(rowsIn, rowCount, slot, width * rowBytes)
        if (waiting === absent) {
          waiting = row
          waitingWeight = w
        } else {
          if (rowBytes === 4) addTwo<f32>(base, waiting, waitingWeight, row, w, out, width)
          else addTwo<u16>(base, waiting, waitingWeight, row, w, out, width)
          base = out
          waiting = absent
        }
      }
      slot += 4
    }
    if (waiting !== absent) {
      if (base === absent) {
        if (rowBytes === 4) scaleRow<f32, f32>(waiting, out, width, waitingWeight)
        else scaleRow<u16, f32>(waiting, out, width, waitingWeight)
      } else if (rowBytes === 4) addOne<f32>(base, waiting, waitingWeight, out, width)
      else addOne<u16>(base, waiting, waitingWeight, out, width)
    } else if (base === absent) memory.fill(out, 0, bytes)
    else if (base !== out) memory.copy(out, base, bytes)
    if (addend !== absent) addend += bytes
    out += bytes
  }
}

/**
 * out[t, k] = kept[t, k] · (dy[t] · rowsIn[slot[t, k]]); an absent `kept` is 1. If `kept` is 0 the result is 0,
 * and slot and row are not read. Traps on any other slot that is not below `rowCount`.
 */
export function rowDots(
  dy: usize,
  rowsIn: usize,
  rowBytes: u32,
  rowCount: u32,
  slot: usize,
  kept: usize,
  out: usize,
  tokens: u32,
  choices: u32,
  width: u32,
): void {
  for (; tokens > 0; tokens--) {
    for (let k = choices; k > 0; k--) {
      let w: f32 = 1
      if (kept !== absent) {
        w = load<f32>(kept)
        kept += 4
      }
      let sum: f64 = 0
      if (w !== 0) {
        const row = rowOf(rowsIn, rowCount, slot, width * rowBytes)
        sum = rowBytes === 4 ? dot<f32, f32>(dy, row, width) : dot<f32, u16>(dy, row, width)
      }
      store<f32>(out, w !== 0 ? w * <f32>sum : 0)
      slot += 4
      out += 4
    }
    dy += width * 4
  }
}

/**
 * Writes the largest element of each row and its first column (int32). A NaN counts as larger than any number. An
 * empty row gives −∞ at column 0.
 */
export function rowLargest(x: usize, rows: u32, columns: u32, largest: usize, place: usize): void {
  for (; rows > 0; rows--) {
    const best = largestOf(x, columns)
    const best4 = f32x4.splat(best)
    let p = x
    let left: u32 = F32.isNaN(best) ? 0 : columns
    for (; left >= 16; left -= 16) {
      const here = v128.or(f32x4.eq(v128.load(p), best4), f32x4.eq(v128.load(p, 16), best4))
      const next = v128.or(f32x4.eq(v128.load(p, 32), best4), f32x4.eq(v128.load(p, 48), best4))
      if (v128.any_true(v128.or(here, next))) break
      p += 64
    }
    let column: u32 = <u32>(p - x) / 4
    for (; column < columns; column++) {
      const value = load<f32>(x + column * 4)
      if (value === best || F32.isNaN(value)) break
    }
    store<f32>(largest, best)
    store<u32>(place, column < columns ? column : 0)
    x += columns * 4
    largest += 4
    place += 4
  }
}

/** The address of row `index[0]` of rows of `bytes` bytes. Traps if there is no such row. */
function rowOf(x: usize, xRows: u32, index: usize, bytes: u32): usize {
  const row = load<u32>(index)
  if (row >= xRows) unreachable()
  return x + row * bytes
}
