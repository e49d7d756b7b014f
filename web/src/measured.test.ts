import { expect, test } from 'vitest'
import { measured } from './measured.ts'

test('neighbouring values can be told apart', () => {
  const shown = [3.41273, 3.41281, 0.0003, 15_210.4, 128.25, 4, 0, null].map(measured)
  expect(shown).toEqual(['3.4127', '3.4128', '3e-4', '15,210', '128.3', '4', '0', '–'])
})
