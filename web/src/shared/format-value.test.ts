import { expect, test } from 'vitest'
import { formatValue } from './format-value.ts'

test('neighbouring values stay distinguishable, and integers such as steps are written in full', () => {
  const shown = [3.41273, 3.41281, 0.0003, 15_210.4, 128.25, 4, 0, 1_234_567, -0.5, null].map(formatValue)
  expect(shown).toEqual(['3.4127', '3.4128', '0.0003', '15,210', '128.25', '4', '0', '1,234,567', '−0.50000', '–'])
})
