import { expect, test } from 'vitest'
import { type Curve, differenceOf, placeOf, repetitionOf, spreadOf } from './loss-curves.ts'

const curve = (name: string, loss: number[], heldOutLoss = 4): Curve => ({
  name,
  engine: 'onednn',
  math: 'float32',
  seed: 1,
  provider: 'oneDNN',
  loss,
  heldOutLoss,
  bitsPerByte: 2,
  parameters: 'abc',
})

test('the difference of two curves is the largest absolute difference of a step so far', () => {
  const from = Array.from({ length: 120 }, () => 5)
  const loss = from.map((value, step) => value + (step === 3 ? -0.1 : step === 60 ? 0.5 : step === 110 ? -2 : 0.01))
  expect(differenceOf(curve('b', loss), curve('a', from))).toEqual({
    of: 'b',
    from: 'a',
    first10: expect.closeTo(0.1, 12),
    first100: 0.5,
    all: 2,
  })
})

test('the spread of 1, 2 and 6 has mean 3, sample deviation √7 and range 5', () => {
  expect(spreadOf([1, 2, 6])).toEqual({ mean: 3, deviation: expect.closeTo(Math.sqrt(7), 12), range: 5 })
})

test('a final loss is within the spread if it is at most the range of seeds from float32 of the same seed', () => {
  const spread = { mean: 4, deviation: 0.5, range: 1 }
  const float32 = curve('float32', [], 4.4)
  expect(placeOf(curve('bf16', [], 5), float32, spread)).toMatchObject({ deviations: 2, withinSpread: true })
  expect(placeOf(curve('bf16', [], 5.5), float32, spread)).toMatchObject({ withinSpread: false })
  expect(placeOf(curve('bf16', [], 3.3), float32, spread)).toMatchObject({ withinSpread: false })
})

test('a repetition compares every loss, and the checksums of the parameters', () => {
  expect(repetitionOf(curve('a', [1, 2]), curve('b', [1, 2]))).toEqual({ of: 'a', losses: true, parameters: true })
  expect(repetitionOf(curve('a', [1, 2]), curve('b', [1, 2 + 2 ** -50])).losses).toBe(false)
  expect(repetitionOf(curve('a', [1, 2]), curve('b', [1])).losses).toBe(false)
  expect(repetitionOf(curve('a', [1]), { ...curve('b', [1]), parameters: 'abd' }).parameters).toBe(false)
})
