/** Tests with numbers worked by hand from the functions of Hugging Face's `modeling_rope_utils.py`. */
import { describe, expect, test } from 'vitest'
import { modelSchema } from './config.ts'
import { rotationOf } from './rotary.ts'

const rotation = (settings: object) => rotationOf(modelSchema.parse({ moe: null, heads: 1, ...settings }))

describe('rotary frequencies', () => {
  test('are base^(−2i/d)', () => {
    expect(rotation({ width: 8, rotaryBase: 10000 })).toEqual({
      frequencies: [1, expect.closeTo(0.1, 12), expect.closeTo(0.01, 12), expect.closeTo(0.001, 12)],
      scale: 1,
    })
    // A head has 4 columns, not 8.
    expect(rotation({ width: 8, headWidth: 4, rotaryBase: 100 }).frequencies).toEqual([1, expect.closeTo(0.1, 12)])
  })

  test('of kind linear are all divided by the factor', () => {
    const rotaryScaling = { kind: 'linear', factor: 4 }
    expect(rotation({ width: 4, rotaryBase: 100, rotaryScaling })).toEqual({
      frequencies: [0.25, expect.closeTo(0.025, 12)],
      scale: 1,
    })
  })

  test('of kind llama3 stay for short waves, are divided for long waves, and are mixed between them', () => {
    const rotaryScaling = { kind: 'llama3', factor: 8, original: 63, lowFactor: 1, highFactor: 4 }
    // Frequencies 1, 0.1 and 0.01 turn 10.03, 1.003 and 0.1 times in 63 positions.
    const { frequencies, scale } = rotation({ width: 6, rotaryBase: 1000, rotaryScaling })
    const kept = (63 * 0.1) / (2 * Math.PI) - 1
    expect(frequencies[0]).toBe(1)
    expect(frequencies[1]).toBeCloseTo(0.1 * (kept / 3 + (1 - kept / 3) / 8), 12)
    expect(frequencies[2]).toBeCloseTo(0.01 / 8, 14)
    expect(scale).toBe(1)
  })

  describe('YaRN', () => {
    // d = 8, base 10000: pair i turns 32768·10^(−i)/2π = 5215·10^(−i) times. 32 turns are at i = 2.212, one at 3.717.
    const yarn = { kind: 'yarn', factor: 16, original: 32768 }
    const shape = { width: 8, rotaryBase: 10000 }

    test('with rounded ends keeps pair 2, and has the last pair half way along the ramp from 2 to 4', () => {
      const { frequencies, scale } = rotation({ ...shape, rotaryScaling: yarn })
      expect(frequencies[0]).toBe(1)
      expect(frequencies[2]).toBeCloseTo(0.01, 14)
      expect(frequencies[3]).toBeCloseTo(0.001 * (0.5 + 0.5 / 16), 14)
      // 0.1·ln 16 + 1
      expect(scale).toBeCloseTo(1 + 0.4 * Math.LN2, 14)
    })

    test('with fractional ends has a ramp between pairs, and the given attention factor as its scale', () => {
      const { frequencies, scale } = rotation({
        ...shape,
        rotaryScaling: { ...yarn, truncate: false, attentionFactor: 0.75 },
      })
      const indexOf = (turns: number) => Math.log10(32768 / (2 * Math.PI * turns))
      expect(indexOf(32)).toBeCloseTo(2.2121, 4)
      expect(indexOf(1)).toBeCloseTo(3.7173, 4)
      const slowed = (3 - indexOf(32)) / (indexOf(1) - indexOf(32))
      expect(frequencies[3]).toBeCloseTo(0.001 * (1 - slowed + slowed / 16), 14)
      expect(scale).toBe(0.75)
    })

    test('limits the ends of the ramp to the pairs, and treats a ramp of no length as a step', () => {
      // All pairs turn less than once: all are slowed but the first, at which the ramp begins and ends.
      const { frequencies } = rotation({ ...shape, rotaryScaling: { ...yarn, original: 4 } })
      expect(frequencies).toEqual([1, 0.1 / 16, 0.01 / 16, 0.001 / 16].map((value) => expect.closeTo(value, 14)))
    })
  })
})
