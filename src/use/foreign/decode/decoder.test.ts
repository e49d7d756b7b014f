/**
 * Blocks worked by hand from the layouts in ggml-common.h, and random blocks of each type against the formulas of gguf-py
 * (gguf-py/gguf/quants.py, `dequantize_blocks`), which are written here as there: with whole arrays, which are cut,
 * shifted and joined. `test/interchange/llama-cpp.test.ts` compares the decoders with the library ggml itself.
 */
import { describe, expect, test } from 'vitest'
import { randomBlocks } from '../testing/random-blocks.ts'
import { decodedTypes, decoderOf } from './decoder.ts'

/** 0.5 in binary16 is 0x3800, 2 is 0x4000 and −2 is 0xc000, all little-endian. */
const [half, two, minusTwo] = [
  [0x00, 0x38],
  [0x00, 0x40],
  [0x00, 0xc0],
]

function decoded(dtype: string, bytes: readonly number[], count: number): number[] {
  const values = new Float32Array(count)
  decoderOf(dtype).decode(Uint8Array.from(bytes).buffer, values)
  return [...values]
}

const zeros = (count: number): number[] => new Array(count).fill(0)

describe('a block worked by hand', () => {
  test('of Q8_0 is its scale times 32 signed bytes', () => {
    const first = [...half, 0, 1, 2, 127, 128, 255, ...zeros(26)]
    const second = [...minusTwo, ...zeros(31), 3]
    const values = decoded('Q8_0', [...first, ...second], 64)
    expect(values.slice(0, 6)).toEqual([0, 0.5, 1, 63.5, -64, -0.5])
    expect(values[63]).toBe(-6)
  })

  test('of Q4_0 is its scale times the low halves of 16 bytes, then their high halves, less 8', () => {
    // 0x0f: low 15, high 0. 0x81: low 1, high 8.
    const values = decoded('Q4_0', [...half, 0x0f, 0x81, ...new Array(14).fill(0x88)], 32)
    expect(values.slice(0, 2)).toEqual([3.5, -3.5])
    expect(values.slice(16, 18)).toEqual([-4, 0])
    expect(values.slice(2, 16).map(Math.abs)).toEqual(zeros(14))
  })

  test('of Q5_1 has a fifth bit for each number, and a minimum', () => {
    // Fifth bits: numbers 0 and 17. 0x21: low 1, high 2. 0x43: low 3, high 4.
    const values = decoded('Q5_1', [...half, ...minusTwo, 0b1, 0, 0b10, 0, 0x21, 0x43, ...zeros(14)], 32)
    expect(values.slice(0, 3)).toEqual([0.5 * 17 - 2, 0.5 * 3 - 2, -2])
    expect(values.slice(16, 19)).toEqual([0.5 * 2 - 2, 0.5 * 20 - 2, -2])
  })

  test('of Q4_K has a scale and a minimum for each 32 numbers, of six bits', () => {
    // Group 1: scale 3, minimum 5. Group 5: scale 0x2a = 0b101010 (low bits 10 in byte 9, high bits 2 in byte 1), and
    // minimum 0x19 = 0b011001 (low bits 9 in byte 9, high bits 1 in byte 5).
    const scales = [0, 3 | (2 << 6), 0, 0, 0, 5 | (1 << 6), 0, 0, 0, 0x9a, 0, 0]
    const q = zeros(128)
    // Number 2 of group 1 is 7, and number 31 of group 5 is 15.
    q[2] = 7 << 4
    q[64 + 31] = 15 << 4
    const values = decoded('Q4_K', [...two, ...half, ...scales, ...q], 256)
    expect(values.slice(32, 36)).toEqual([-2.5, -2.5, 2 * 3 * 7 - 2.5, -2.5])
    expect(values.slice(190, 192)).toEqual([-12.5, 2 * 42 * 15 - 12.5])
    expect(values.slice(0, 32).map(Math.abs)).toEqual(zeros(32))
  })

  test('of Q6_K has a signed scale for each 16 numbers, which are less 32', () => {
    const [low, high, scales] = [zeros(128), zeros(64), zeros(16)]
    // Number 0: 5 + 16·3. Number 255 is in the high half of the last byte of the low bits, and in the highest bits.
    low[0] = 5
    low[127] = 0xf0
    high[0] = 3
    high[63] = 2 << 6
    scales[0] = 4
    scales[15] = 0xff
    const values = decoded('Q6_K', [...low, ...high, ...scales, ...half], 256)
    expect(values.slice(0, 2)).toEqual([0.5 * 4 * (53 - 32), 0.5 * 4 * -32])
    expect(values.slice(254)).toEqual([0.5 * 32, 0.5 * (32 - 47)])
  })
})

/** `bytes.reshape(-1, 1, columns) >> shifts.reshape(1, -1, 1) & mask`, flattened. */
function shifted(bytes: Uint8Array, columns: number, shifts: readonly number[], mask: number): number[] {
  const rows = Array.from({ length: bytes.length / columns }, (_, row) => [
    ...bytes.subarray(row * columns, (row + 1) * columns),
  ])
  return rows.flatMap((row) => shifts.flatMap((shift) => row.map((byte) => (byte >> shift) & mask)))
}

/** `np.hsplit`: parts of these lengths. */
function split(bytes: Uint8Array, ...lengths: readonly number[]): Uint8Array[] {
  let end = 0
  return lengths.map((length) => {
    end += length
    return bytes.subarray(end - length, end)
  })
}

function float16([low = 0, high = 0]: Uint8Array): number {
  const bits = low + 256 * high
  const exponent = Math.floor(bits / 1024) % 32
  const fraction = (bits % 1024) / 1024
  const size = exponent === 0 ? fraction * 2 ** -14 : (1 + fraction) * 2 ** (exponent - 15)
  return bits >= 0x8000 ? -size : size
}

const f32 = Math.fround
const range = (count: number, step = 1): number[] => Array.from({ length: count }, (_, i) => i * step)
/** d·q + m with rounding to float32 after each operation, where each d and m is that of several q. */
const scaled = (d: readonly number[], q: readonly number[], m: readonly number[] = [0]): number[] =>
  q.map((each, i) => {
    const group = Math.floor((i * d.length) / q.length)
    return f32(f32((d[group] as number) * each) + (m[m.length === 1 ? 0 : group] as number))
  })
const bits = (bytes: Uint8Array): number[] => [...bytes].flatMap((byte) => range(8).map((bit) => (byte >> bit) & 1))
const joined = (low: readonly number[], high: readonly number[], shift: number, less = 0): number[] =>
  low.map((each, i) => each + ((high[i] as number) << shift) - less)

function scalesAndMinima(packed: Uint8Array): [number[], number[]] {
  const [d, m, both] = split(packed, 4, 4, 4).map((part) => [...part]) as [number[], number[], number[]]
  return [
    [...d.map((x) => x & 0x3f), ...both.map((x, i) => (x & 0x0f) | (((d[i] as number) >> 2) & 0x30))],
    [...m.map((x) => x & 0x3f), ...both.map((x, i) => (x >> 4) | (((m[i] as number) >> 2) & 0x30))],
  ]
}

const kvalues = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113]
type Parts = [Uint8Array, Uint8Array, Uint8Array, Uint8Array, Uint8Array]

/** `dequantize_blocks` of gguf-py for one block. */
const formulas: Readonly<Record<string, (block: Uint8Array) => number[]>> = {
  F32: (block) => [new DataView(block.slice().buffer).getFloat32(0, true)],
  BF16: (block) => [new DataView(Uint8Array.of(0, 0, ...block).buffer).getFloat32(0, true)],
  F16: (block) => [float16(block)],
  Q4_0(block) {
    const [d, qs] = split(block, 2, 16) as Parts
    return scaled(
      [float16(d)],
      shifted(qs, 16, [0, 4], 15).map((q) => q - 8),
    )
  },
  Q4_1(block) {
    const [d, m, qs] = split(block, 2, 2, 16) as Parts
    return scaled([float16(d)], shifted(qs, 16, [0, 4], 15), [float16(m)])
  },
  Q5_0(block) {
    const [d, qh, qs] = split(block, 2, 4, 16) as Parts
    return scaled([float16(d)], joined(shifted(qs, 16, [0, 4], 15), bits(qh), 4, 16))
  },
  Q5_1(block) {
    const [d, m, qh, qs] = split(block, 2, 2, 4, 16) as Parts
    return scaled([float16(d)], joined(shifted(qs, 16, [0, 4], 15), bits(qh), 4), [float16(m)])
  },
  Q8_0(block) {
    const [d, qs] = split(block, 2, 32) as Parts
    return scaled([float16(d)], [...Int8Array.from(qs)])
  },
  Q2_K(block) {
    const [scales, qs, d, dmin] = split(block, 16, 64, 2, 2) as Parts
    const dl = [...scales].map((scale) => f32(float16(d) * (scale & 15)))
    const ml = [...scales].map((scale) => -f32(float16(dmin) * (scale >> 4)))
    return scaled(dl, shifted(qs, 32, [0, 2, 4, 6], 3), ml)
  },
  Q3_K(block) {
    const [hmask, qs, scales, d] = split(block, 32, 64, 12, 2) as Parts
    const [low, high] = split(scales, 8, 4) as Parts
    const six = joined(shifted(low, 8, [0, 4], 15), shifted(high, 4, [0, 2, 4, 6], 3), 4, 32)
    const dl = six.map((scale) => f32(float16(d) * scale))
    const inverse = shifted(hmask, 32, range(8), 1).map((bit) => bit ^ 1)
    const q = shifted(qs, 32, [0, 2, 4, 6], 3).map((each, i) => each - ((inverse[i] as number) << 2))
    return scaled(dl, q)
  },
  Q4_K(block) {
    const [d, dmin, packed, qs] = split(block, 2, 2, 12, 128) as Parts
    const [scales, minima] = scalesAndMinima(packed)
    return scaled(
      scales.map((scale) => f32(float16(d) * scale)),
      shifted(qs, 32, [0, 4], 15),
      minima.map((minimum) => -f32(float16(dmin) * minimum)),
    )
  },
  Q5_K(block) {
    const [d, dmin, packed, qh, qs] = split(block, 2, 2, 12, 32, 128) as Parts
    const [scales, minima] = scalesAndMinima(packed)
    return scaled(
      scales.map((scale) => f32(float16(d) * scale)),
      joined(shifted(qs, 32, [0, 4], 15), shifted(qh, 32, range(8), 1), 4),
      minima.map((minimum) => -f32(float16(dmin) * minimum)),
    )
  },
  Q6_K(block) {
    const [ql, qh, scales, d] = split(block, 128, 64, 16, 2) as Parts
    return scaled(
      [...Int8Array.from(scales)].map((scale) => f32(float16(d) * scale)),
      joined(shifted(ql, 64, [0, 4], 15), shifted(qh, 32, [0, 2, 4, 6], 3), 4, 32),
    )
  },
  IQ4_NL(block) {
    const [d, qs] = split(block, 2, 16) as Parts
    return scaled(
      [float16(d)],
      shifted(qs, 16, [0, 4], 15).map((q) => kvalues[q] as number),
    )
  },
  IQ4_XS(block) {
    const [d, high, low, qs] = split(block, 2, 2, 4, 128) as Parts
    const highs = range(8, 2).map((shift) => (((high[0] as number) + 256 * (high[1] as number)) >> shift) & 3)
    return scaled(
      joined(shifted(low, 1, [0, 4], 15), highs, 4, 32).map((scale) => f32(float16(d) * scale)),
      shifted(qs, 16, [0, 4], 15).map((q) => kvalues[q] as number),
    )
  },
}

test.each(decodedTypes)('random blocks of %s are the numbers of the formulas of gguf-py, bit for bit', (dtype) => {
  const { block, bytes, decode } = decoderOf(dtype)
  const formula = formulas[dtype] as (block: Uint8Array) => number[]
  const data = randomBlocks(dtype, 40, 1)
  const values = new Float32Array(40 * block)
  decode(data.buffer, values)
  expect(new Set(values).size).toBeGreaterThan(20)
  for (let i = 0; i < 40; i++) {
    const expected = formula(data.subarray(i * bytes, (i + 1) * bytes))
    // −0 and 0 are the same number here.
    expect([...values.subarray(i * block, (i + 1) * block)].map((x) => x + 0)).toEqual(expected.map((x) => x + 0))
  }
})
