import { describe, expect, it } from 'vitest'
import { type Line, rangeOfY } from './lines.ts'
import { rangeWithoutOutliers } from './outliers.ts'

const x = { min: 0, max: 1000 }
const line = (values: readonly (number | null)[], more: Partial<Line> = {}): Line => ({
  run: 'a',
  name: 'a',
  style: { color: '#000', dash: [] },
  x: values.map((_, step) => step),
  y: values,
  ...more,
})
const steps = (count: number, valueAt: (step: number) => number) => Array.from({ length: count }, (_, i) => valueAt(i))
/** Falls from 11 to 3, half of it within ten steps. */
const falling = steps(400, (step) => 3 + 8 * 0.5 ** (step / 10))

describe('the range of y without outliers', () => {
  it('leaves out the first steps of a falling loss, and contains its end', () => {
    const range = rangeWithoutOutliers([line(falling)], x, false)
    expect(range?.max).toBeLessThan(5)
    expect(range?.min).toBeLessThan(Math.min(...falling))
    expect(range).toMatchObject({ above: 11, below: null })
  })

  it('leaves out a spike on either side, and reports it', () => {
    const noise = steps(100, (step) => Math.sin(step))
    const range = rangeWithoutOutliers([line([...noise, 1e6, -500])], x, false)
    expect(range?.min).toBeGreaterThan(-5)
    expect(range?.max).toBeLessThan(5)
    expect(range).toMatchObject({ above: 1e6, below: -500 })
  })

  it('contains a short line that is far from long ones', () => {
    const range = rangeWithoutOutliers([line(falling), line(steps(20, (step) => 9 - step / 20))], x, false)
    expect(range?.max).toBeGreaterThan(9)
  })

  it('is the whole range if little would be left out, or if most values are equal', () => {
    // A straight line is no outlier anywhere, however many steps it has.
    const linear = line(steps(100, (step) => step))
    expect(rangeWithoutOutliers([linear], x, false)).toEqual({
      ...rangeOfY([linear], x, false),
      above: null,
      below: null,
    })
    const few = line(steps(3, (step) => 10 ** step))
    expect(rangeWithoutOutliers([few], x, false)).toMatchObject({ above: null, below: null })
    // The moving average of a short bump decays, but never to zero.
    const bump = steps(300, (step) => (step < 5 ? 20 : 0))
    const smoothed = bump.map((value, step) => (step < 5 ? value : 20 * 0.6 ** (step - 4)))
    expect(rangeWithoutOutliers([line(smoothed, { raw: bump })], x, false)?.max).toBeGreaterThan(20)
  })

  it('leaves out a run that diverged, as few steps as it has, and contains the others', () => {
    const diverged = line([10.9, 11.2, 60, 4e4, 6e11, null, null])
    const others = [line(falling), line(falling.map((loss) => loss + 0.1))]
    for (const lines of [
      [...others, diverged],
      [diverged, line(falling)],
    ]) {
      const range = rangeWithoutOutliers(lines, x, false)
      expect(range?.max).toBeLessThan(8)
      expect(range?.min).toBeLessThan(3)
      expect(range?.above).toBe(6e11)
    }
    // On a logarithmic axis too.
    expect(rangeWithoutOutliers([...others, diverged], x, true)?.max).toBeLessThan(100)
  })

  it('leaves out a run that diverged after many steps', () => {
    const late = line([...falling, 7, 90, 1e13])
    const range = rangeWithoutOutliers([line(falling), late], x, false)
    expect(range?.max).toBeLessThan(8)
    expect(range?.above).toBe(1e13)
  })

  it('contains lines that vary more than others, or are of another size as a whole', () => {
    const small = line(steps(100, (step) => 0.5 + Math.sin(step) / 10))
    const wide = steps(100, (step) => 0.5 + step / 50)
    expect(rangeWithoutOutliers([small, line(wide)], x, false)?.max).toBeGreaterThan(2.48)
    expect(rangeWithoutOutliers([small, line(wide.map((value) => 1000 * value))], x, false)?.max).toBeGreaterThan(2480)
    const zero = line(steps(100, () => 0))
    expect(rangeWithoutOutliers([zero, line(wide)], x, false)?.max).toBeGreaterThan(2.48)
  })

  it('judges by the visible part of a line', () => {
    const range = rangeWithoutOutliers([line(falling)], { min: 0, max: 8 }, false)
    expect(range).toMatchObject({ above: null, below: null })
    expect(range?.max).toBeGreaterThan(11)
  })

  it('judges powers on a logarithmic axis', () => {
    const powers = steps(50, (step) => 10 ** (step / 10))
    expect(rangeWithoutOutliers([line(powers)], x, true)).toMatchObject({ above: null, below: null })
    expect(rangeWithoutOutliers([line([...powers, 1e30])], x, true)?.above).toBeCloseTo(1e30, -25)
  })

  it('counts the edges of a band', () => {
    const flat = steps(100, (step) => Math.sin(step))
    const band = { low: flat, high: flat.map((value, step) => (step === 0 ? 1000 : value)), count: flat.map(() => 2) }
    expect(rangeWithoutOutliers([line(flat, { band })], x, false)?.above).toBe(1000)
  })

  it('does not exist without values', () => {
    expect(rangeWithoutOutliers([line([null])], x, false)).toBeNull()
    expect(rangeWithoutOutliers([], x, false)).toBeNull()
  })
})
