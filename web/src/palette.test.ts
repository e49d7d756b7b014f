import fc from 'fast-check'
import { expect, test } from 'vitest'
import { assignStyles, loadColor } from './palette.ts'

const run = fc.record({ id: fc.string({ minLength: 1 }), created: fc.option(fc.integer({ min: 1, max: 1e12 })) })
const collection = fc.uniqueArray(run, { selector: ({ id }) => id, maxLength: 40 })
const text = (style: object | undefined) => JSON.stringify(style)

test('up to 32 runs have different styles, and the first eight have solid lines', () => {
  fc.assert(
    fc.property(collection, (runs) => {
      const styles = [...assignStyles(runs).values()]
      expect(styles.length).toBe(runs.length)
      if (runs.length <= 32) expect(new Set(styles.map(text)).size).toBe(runs.length)
      expect(styles.filter(({ dash }) => dash.length === 0).length).toBe(
        Math.min(8, runs.length) + Math.max(0, runs.length - 32),
      )
    }),
  )
})

test('a newer run does not change the styles of existing runs', () => {
  fc.assert(
    fc.property(collection, (runs) => {
      const latest = { id: 'the latest', created: 2e12 }
      const [before, after] = [assignStyles(runs), assignStyles([latest, ...runs])]
      for (const { id } of runs) expect(text(after.get(id))).toBe(text(before.get(id)))
    }),
  )
})

test('colours of loads diverge on both sides of the mean', () => {
  for (const dark of [false, true]) {
    const distance = (a: number, b: number) =>
      Math.hypot(...loadColor(a, dark).map((value, i) => value - (loadColor(b, dark)[i] as number)))
    expect(distance(1 / 3, 0)).toBeGreaterThan(20)
    expect(distance(2 / 3, 0)).toBeGreaterThan(distance(1 / 3, 0))
    expect(distance(-2 / 3, 0)).toBeGreaterThan(distance(-1 / 3, 0))
    expect(distance(1, -1)).toBeGreaterThan(100)
  }
})
