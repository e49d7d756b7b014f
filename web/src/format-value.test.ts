import { expect, test } from 'vitest'
import { formatValue } from './format-value.ts'

test('neighbouring values stay distinguishable', () => {
  const shown = [3.41273, 3.41281, 0.0003, 15_210.4, 128.25, 4, 0, null].map(formatValue)
  expect(shown).toEqual(['3.4127', '3.4128', '3e-4', '15,210', '128.3', '4', '0', '–'])
})
