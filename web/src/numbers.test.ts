import { describe, expect, it } from 'vitest'
import { bytes, compact, duration, measured } from './numbers.ts'

describe('numbers', () => {
  it('are short on an axis', () => {
    const shown = [0, 0.25, 950, 999.9, 12_345, 4_100_000, 1.38e9, 3.2e18, -1500, 0.0003, Number.NaN].map(compact)
    expect(shown).toEqual(['0', '0.25', '950', '1000', '12.3k', '4.1M', '1.38B', '3.2e18', '-1.5k', '3e-4', '–'])
  })

  it('tell neighbouring values apart', () => {
    const shown = [3.41273, 3.41281, 0.0003, 15_210.4, 128.25, 4, 0, null].map(measured)
    expect(shown).toEqual(['3.4127', '3.4128', '3e-4', '15,210', '128.3', '4', '0', '–'])
  })

  it('say times in two units at most', () => {
    const shown = [0, 4.25, 59.7, 180, 3600, 3900, 86_400, 86_400 * 2 + 3600 * 3].map(duration)
    expect(shown).toEqual(['0 s', '4.3 s', '1 min', '3 min', '1 h', '1 h 5 min', '1 d', '2 d 3 h'])
  })

  it('say sizes in powers of 1000', () => {
    expect([0, 999, 512_000, 4_100_000].map(bytes)).toEqual(['0 B', '999 B', '512 kB', '4.1 MB'])
  })
})
