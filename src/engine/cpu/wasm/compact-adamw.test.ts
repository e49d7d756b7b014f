import { afterAll, beforeAll, expect, test } from 'vitest'
import { randomFor } from '../../../core/random.ts'
import { hostOf } from '../../contract/arena.ts'
import type { AdamwSettings, CompactAdamwRange, Gate } from '../../contract/arena-kernels.ts'
import { type CompactState, MOMENT_BLOCK, momentLayout } from '../../contract/moments.ts'
import { createArena } from '../../native/cpu-arena.ts'
import { createArenaKernels } from './arena-kernels.ts'

type Kernels = Awaited<ReturnType<typeof createArenaKernels>>
let kernels: Kernels
let single: Kernels
beforeAll(async () => {
  kernels = await createArenaKernels(3)
  single = await createArenaKernels(1)
})
afterAll(async () => {
  await kernels.close()
  await single.close()
})

const seed = Math.floor(Math.random() * 2 ** 31)
console.info(`compact adamw: seed ${seed}`)
const random = randomFor(seed, 'compact adamw')
const draw = (size = 1) => size * (2 * random.uniform() - 1)
const open = (scale = 1): Gate => ({ norm: 1, scale, isOpen: true })
const states = ['bf16', 'int8'] as const
const settings: AdamwSettings = {
  ...{ beta1: 0.9, beta2: 0.99, first: 0.1, second: 0.01, size: 0.01, correction: 1.5, epsilon: 1e-8 },
}

/** The moments of a unit, read by the definition of the formats. */
function decode(state: CompactState, floats: Float32Array, count: number): { m: Float64Array; v: Float64Array } {
  const { codes } = momentLayout(state, count)
  const bytes = new DataView(floats.buffer, floats.byteOffset, floats.byteLength)
  const bounds = floats.subarray(codes)
  const magnitude = (code: number) => 2 ** (code >> 3) * (1 + (code & 7) / 8) - 1
  const m = new Float64Array(count)
  const v = new Float64Array(count)
  for (let i = 0; i < count; i++) {
    if (state === 'bf16') {
      const half = (at: number) => new Float32Array(Uint32Array.of(bytes.getUint16(at, true) << 16).buffer)[0] as number
      m[i] = half(4 * i)
      v[i] = half(4 * i + 2)
      continue
    }
    const block = Math.floor(i / MOMENT_BLOCK)
    const [boundM = 0, boundV = 0] = bounds.subarray(2 * block)
    const [codeV, codeM] = [bytes.getUint8(2 * i), bytes.getUint8(2 * i + 1)]
    m[i] = ((codeM & 0x80 ? -1 : 1) * magnitude(codeM & 0x7f) * boundM) / 57287
    v[i] = (magnitude(codeV) * boundV) / 3754426368
  }
  return { m, v }
}

/** Units one after the other, whose parameters have no gaps between them, like those of experts. */
class Units {
  readonly ranges: CompactAdamwRange[]
  private readonly arena
  private readonly total: number
  private readonly state: CompactState

  constructor(state: CompactState, counts: readonly number[]) {
    this.state = state
    this.total = counts.reduce((sum, count) => sum + count, 0)
    const floats = counts.map((count) => momentLayout(state, count).floats)
    const start = Math.ceil((2 * this.total + 7) / 16) * 16
    this.arena = createArena(4 * (start + floats.reduce((sum, count) => sum + count, 0)))
    let [p, moments] = [0, start]
    this.ranges = counts.map((count, i) => {
      const range = {
        arena: this.arena,
        p,
        g: this.total + 7 + p,
        moments,
        count,
        keep: 0.999,
        seed: Math.imul(i, 0x85ebca6b) >>> 0,
      }
      p += count
      moments += floats[i] as number
      return range
    })
  }

  private floats(start: number, count: number) {
    return new Float32Array(hostOf(this.arena).buffer, 4 * start, count)
  }
  get p() {
    return this.floats(0, this.total)
  }
  /** The floats between parameters and gradients. */
  get gap() {
    return this.floats(this.total, 7)
  }
  get g() {
    return this.floats(this.total + 7, this.total)
  }
  get moments() {
    const { moments } = this.ranges[0] as CompactAdamwRange
    return this.floats(moments, hostOf(this.arena).buffer.byteLength / 4 - moments)
  }
  decoded() {
    const parts = this.ranges.map(({ moments, count }) =>
      decode(this.state, this.floats(moments, momentLayout(this.state, count).floats), count),
    )
    return { m: parts.flatMap(({ m }) => [...m]), v: parts.flatMap(({ v }) => [...v]) }
  }
  /** Number of non-zero bytes among the codes after the numbers of a unit, up to the end of its last block. */
  codesBeyond(unit: number): number {
    const { moments, count } = this.ranges[unit] as CompactAdamwRange
    const { codes } = momentLayout(this.state, count)
    const pair = this.state === 'bf16' ? 4 : 2
    const bytes = new Uint8Array(hostOf(this.arena).buffer, 4 * moments, 4 * codes)
    return bytes.subarray(count * pair).filter((byte) => byte !== 0).length
  }
  step(by: Kernels, turn: number, of = settings, scale = 1) {
    const ranges = this.ranges.map((range) => ({ ...range, seed: (range.seed + turn * 7919) >>> 0 }))
    return by.adamwCompact(this.state, ranges, of, open(scale))
  }
}

const counts = [1, 700, 9, 4096, 257, 8]

test.each(states)('%s: a first update moves parameters as AdamW in float64 does, and nothing else', async (state) => {
  const units = new Units(state, counts)
  units.p.forEach((_, i, p) => {
    p[i] = draw()
  })
  units.g.forEach((_, i, g) => {
    g[i] = draw(10 ** draw(4))
  })
  units.gap.fill(42)
  const before = Float64Array.from(units.p)
  await units.step(kernels, 1, settings, 0.5)
  const { first, second, size, correction, epsilon } = settings
  units.p.forEach((p, i) => {
    const g = 0.5 * (units.g[i] as number)
    const expected =
      0.999 * (before[i] as number) - (size * first * g) / (correction * Math.sqrt(second * g * g) + epsilon)
    expect(Math.abs(p - expected)).toBeLessThan(1e-6)
  })
  expect([...units.gap]).toEqual(Array(7).fill(42))
  counts.forEach((_, unit) => {
    expect(units.codesBeyond(unit)).toBe(0)
  })
})

test.each(states)(
  '%s: stored moments are within a step of their codes, and their mean is the exact value',
  async (state) => {
    const trials = 2000
    const size = 256
    const units = new Units(state, Array(trials).fill(size))
    const gradient = Array.from({ length: size }, () => draw(10 ** draw(1)))
    units.g.forEach((_, i, g) => {
      g[i] = gradient[i % size] as number
    })
    // All units get the moments that the first unit has after three updates.
    for (let turn = 0; turn < 3; turn++) await units.step(kernels, turn)
    const { floats, codes } = momentLayout(state, size)
    const start = units.moments.slice(0, floats)
    for (let unit = 1; unit < trials; unit++) units.moments.set(start, unit * floats)
    const old = decode(state, start, size)
    await units.step(kernels, 3)
    const { m, v } = units.decoded()
    const { beta1, beta2, first, second } = settings
    const [boundM = 0, boundV = 0] = state === 'int8' ? units.moments.subarray(codes) : []
    const expectMean = (values: readonly number[], exact: (i: number) => number, least: number, isV = false) => {
      for (let i = 0; i < size; i++) {
        // Below its smallest code v is always rounded up, since m / √v would be huge.
        if (isV && exact(i) < least) {
          for (let trial = 0; trial < trials; trial++) expect(values[trial * size + i]).toBeCloseTo(least, 20)
          continue
        }
        const step = (state === 'bf16' ? 2 ** -7 : 2 ** -3) * Math.abs(exact(i)) * 1.00001 + least
        const errors = Array.from({ length: trials }, (_, trial) => (values[trial * size + i] as number) - exact(i))
        expect(Math.max(...errors.map(Math.abs))).toBeLessThanOrEqual(step)
        // The deviation of a mean is at most half a step over √trials. Not one of 512 means is beyond 5 deviations.
        const mean = errors.reduce((sum, error) => sum + error, 0) / trials
        expect(Math.abs(mean)).toBeLessThan((5 * step) / 2 / Math.sqrt(trials))
      }
    }
    expectMean(m, (i) => beta1 * (old.m[i] as number) + first * (gradient[i] as number), boundM / 57287 / 8)
    expectMean(
      v,
      (i) => beta2 * (old.v[i] as number) + second * (gradient[i] as number) ** 2,
      boundV / 3754426368 / 8,
      true,
    )
  },
)

test.each(states)(
  '%s: without gradients v decays by β₂, where rounding to the nearest would keep it',
  async (state) => {
    const units = new Units(state, [4096])
    const slow = { ...settings, beta2: 0.999, second: 0.001 }
    units.g.fill(1)
    await units.step(kernels, 0, slow)
    const mean = ({ v }: { v: number[] }) => v.reduce((sum, x) => sum + x, 0) / v.length
    const first = mean(units.decoded())
    units.g.fill(0)
    for (let turn = 1; turn <= 500; turn++) await units.step(kernels, turn, slow)
    const expected = 0.999 ** 500
    expect(mean(units.decoded()) / first / expected).toBeGreaterThan(0.97)
    expect(mean(units.decoded()) / first / expected).toBeLessThan(1.03)

    let v = 0.001
    const nearest = (x: number) => {
      const [bits = 0] = new Uint32Array(Float32Array.of(x).buffer)
      return new Float32Array(Uint32Array.of((bits + 0x8000) & 0xffff0000).buffer)[0] as number
    }
    v = nearest(v)
    const stuck = v
    for (let turn = 0; turn < 500; turn++) v = nearest(0.999 * v)
    expect(v).toBe(stuck)
  },
)

test.each(states)('%s: bits do not depend on the number of threads', async (state) => {
  const [one, three] = [new Units(state, counts), new Units(state, counts)]
  for (let turn = 0; turn < 4; turn++) {
    one.g.forEach((_, i, g) => {
      g[i] = draw()
    })
    three.g.set(one.g)
    await one.step(single, turn)
    await three.step(kernels, turn)
  }
  expect(three.p).toEqual(one.p)
  expect(new Uint32Array(three.moments.slice().buffer)).toEqual(new Uint32Array(one.moments.slice().buffer))
})

test('int8: numbers far below the largest of their block make no huge steps', async () => {
  const units = new Units('int8', [256])
  let largest = 0
  for (let turn = 1; turn <= 300; turn++) {
    units.g.forEach((_, i, g) => {
      g[i] = i === 0 ? draw(1e3) : draw(10 ** (-i / 16))
    })
    const before = Float64Array.from(units.p)
    await units.step(single, turn, {
      ...settings,
      size: 1 / (1 - 0.9 ** turn),
      correction: 1 / Math.sqrt(1 - 0.99 ** turn),
    })
    units.p.forEach((p, i) => {
      largest = Math.max(largest, Math.abs(p - 0.999 * (before[i] as number)))
    })
  }
  // (1 − β₁) / √(1 − β₂) = 1 bounds the steps of AdamW for these β (Kingma and Ba 2015, section 2.1).
  expect(largest).toBeLessThan(2)
})

test.each(states)('%s: an update with a closed gate changes nothing', async (state) => {
  const units = new Units(state, [300])
  units.p.fill(1)
  units.g.fill(1)
  await kernels.adamwCompact(state, units.ranges, settings, { norm: Number.NaN, scale: 1, isOpen: false })
  expect([...units.p]).toEqual(Array(300).fill(1))
  expect(units.moments.every((x) => x === 0)).toBe(true)
})
