import fc from 'fast-check'
import { expect, test } from 'vitest'
import { assignStyles } from './line-styles.ts'

const run = fc.record({ id: fc.string({ minLength: 1 }), created: fc.option(fc.integer({ min: 1, max: 1e12 })) })
const collection = fc.uniqueArray(run, { selector: ({ id }) => id, maxLength: 60 })
const text = (style: object | undefined) => JSON.stringify(style)

test('up to 50 runs have different styles, and the first ten have solid lines', () => {
  fc.assert(
    fc.property(collection, (runs) => {
      const styles = [...assignStyles(runs, 'light').values()]
      expect(styles.length).toBe(runs.length)
      if (runs.length <= 50) expect(new Set(styles.map(text)).size).toBe(runs.length)
      expect(styles.filter(({ dash }) => dash.length === 0).length).toBe(
        Math.min(10, runs.length) + Math.max(0, runs.length - 50),
      )
    }),
  )
})

test('a newer run does not change the styles of existing runs', () => {
  fc.assert(
    fc.property(collection, (runs) => {
      const latest = { id: 'the latest', created: 2e12 }
      const [before, after] = [assignStyles(runs, 'dark'), assignStyles([latest, ...runs], 'dark')]
      for (const { id } of runs) expect(text(after.get(id))).toBe(text(before.get(id)))
    }),
  )
})
