import { expect, test } from 'vitest'
import { markOf } from './marks.ts'

test('fifty series are drawn in fifty ways, and neighbours differ in colour, mark and dash', () => {
  const marks = Array.from({ length: 50 }, (_, i) => markOf(i))
  expect(new Set(marks.map(({ colour, dash }) => `${colour} ${dash}`)).size).toBe(50)
  for (const [i, mark] of marks.slice(1).entries()) {
    expect(mark.colour).not.toBe(marks[i]?.colour)
    expect(mark.shape).not.toBe(marks[i]?.shape)
    expect(mark.dash).not.toBe(marks[i]?.dash)
  }
})
