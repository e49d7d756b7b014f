/**
 * Products of a row and a matrix of bfloat16 in the layout of src/core/graph/quantized-layout.ts, and such a matrix as
 * floats. The row stays float32.
 */
import { Bfloat16, PACKED_STEP, packedPairs } from './bfloat16'

/** Rows of a group, to whose multiple the rows of a block are padded. */
const ROWS: u32 = 32
/** Bytes of a row of a block of 16 columns. */
const STEP: usize = 32

/** Bytes of the padding of a block with `inner` rows. */
function paddingOf(inner: u32): usize {
  return <usize>((ROWS - (inner % ROWS)) % ROWS) * STEP
}

/** out = x·w for a row x [inner] and `blocks` blocks of 16 columns of w. */
export function bf16Times(x: usize, w: usize, out: usize, blocks: u32, inner: u32): void {
  const end: usize = x + <usize>inner * 4
  const even: usize = x + <usize>(inner & ~1) * 4
  const padding = paddingOf(inner)
  for (; blocks > 0; blocks--) {
    // Two sums for each column, of even and of odd rows, so that additions do not wait for each other.
    let a = f32x4.splat(0)
    let b = f32x4.splat(0)
    let c = f32x4.splat(0)
    let d = f32x4.splat(0)
    let e = f32x4.splat(0)
    let f = f32x4.splat(0)
    let g = f32x4.splat(0)
    let h = f32x4.splat(0)
    let from = x
    for (; from < even; from += 8) {
      const first = v128.load32_splat(from)
      a = f32x4.add(a, f32x4.mul(first, Bfloat16.load4(w)))
      b = f32x4.add(b, f32x4.mul(first, Bfloat16.load4(w + 8)))
      c = f32x4.add(c, f32x4.mul(first, Bfloat16.load4(w + 16)))
      d = f32x4.add(d, f32x4.mul(first, Bfloat16.load4(w + 24)))
      const second = v128.load32_splat(from, 4)
      e = f32x4.add(e, f32x4.mul(second, Bfloat16.load4(w + 32)))
      f = f32x4.add(f, f32x4.mul(second, Bfloat16.load4(w + 40)))
      g = f32x4.add(g, f32x4.mul(second, Bfloat16.load4(w + 48)))
      h = f32x4.add(h, f32x4.mul(second, Bfloat16.load4(w + 56)))
      w += 64
    }
    if (from < end) {
      const last = v128.load32_splat(from)
      a = f32x4.add(a, f32x4.mul(last, Bfloat16.load4(w)))
      b = f32x4.add(b, f32x4.mul(last, Bfloat16.load4(w + 8)))
      c = f32x4.add(c, f32x4.mul(last, Bfloat16.load4(w + 16)))
      d = f32x4.add(d, f32x4.mul(last, Bfloat16.load4(w + 24)))
      w += STEP
    }
    w += padding
    v128.store(out, f32x4.add(a, e))
    v128.store(out, f32x4.add(b, f), 16)
    v128.store(out, f32x4.add(c, g), 32)
    v128.store(out, f32x4.add(d, h), 48)
    out += 64
  }
}

/** `int8Expand` for bfloat16. */
export function bf16Expand(w: usize, out: usize, inner: u32, columns: u32, stride: u32): void {
  const step: usize = <usize>stride * 4
  for (; inner > 0; inner--, w += STEP, out += step) {
    if (columns >= 16) {
      v128.store(out, Bfloat16.load4(w))
      v128.store(out, Bfloat16.load4(w + 8), 16)
      v128.store(out, Bfloat16.load4(w + 16), 32)
      v128.store(out, Bfloat16.load4(w + 24), 48)
    } else
      for (let column: u32 = 0; column < columns; column++) store<f32>(out + column * 4, Bfloat16.load(w + column * 2))
  }
}

/** `int8Pack` for bfloat16. */
export function bf16Pack(w: usize, out: usize, inner: u32): void {
  for (let pairs = packedPairs(inner); pairs > 0; pairs--, w += 2 * STEP, out += PACKED_STEP)
    for (let half: usize = 0; half < 32; half += 16) {
      const first = v128.load(w + half)
      const second = v128.load(w + half, 32)
      v128.store(out + 2 * half, v128.shuffle<u16>(first, second, 0, 8, 1, 9, 2, 10, 3, 11))
      v128.store(out + 2 * half, v128.shuffle<u16>(first, second, 4, 12, 5, 13, 6, 14, 7, 15), 16)
    }
}
