import { describe, expect, test } from 'vitest'
import { publishedRows, publishedSeconds } from './published/measurements.ts'
import { validate } from './validate.ts'

const validation = validate()

describe('validation', () => {
  test('predicts every published row, each once', () => {
    expect(validation.rows.map(({ row }) => row.id)).toEqual(publishedRows.map(({ id }) => id))
    expect(new Set(publishedRows.map(({ id }) => id)).size).toBe(publishedRows.length)
    for (const { predicted, published } of validation.rows) {
      expect(predicted).toBeGreaterThan(0)
      expect(published).toBeGreaterThan(0)
    }
  })

  test('has a source and a positive value for every row', () => {
    for (const { source, published } of publishedRows) {
      expect(source.length).toBeGreaterThan(10)
      expect(published.value).toBeGreaterThan(0)
    }
  })

  test('has a mean error of step time below 15 % on rows that constants were not fitted to', () => {
    const tested = validation.means.find(({ metric, role }) => metric === 'step time' && role === 'test')
    expect(tested?.rows).toBeGreaterThan(40)
    expect(tested?.meanAbsoluteError).toBeLessThan(0.15)
  })

  test('computes means of the errors of its rows', () => {
    for (const { metric, role, rows, meanAbsoluteError } of validation.means) {
      const errors = validation.rows.filter((each) => each.metric === metric && each.row.role === role)
      expect(rows).toBe(errors.length)
      const sum = errors.reduce(
        (total, { published, predicted }) => total + Math.abs(predicted - published) / published,
        0,
      )
      expect(meanAbsoluteError).toBeCloseTo(sum / rows, 10)
    }
  })
})

describe('published rates as seconds of a step', () => {
  const row = (id: string) => {
    const found = publishedRows.find((each) => each.id.startsWith(id))
    if (!found) throw new Error(`no row ${id}`)
    return found
  }

  test("Megatron's FLOP/s with recomputation: 96·B·s·l·h²·(1 + s/6h + V/16lh)", () => {
    const [B, s, l, h, V] = [3072, 2048, 128, 25_600, 51_200]
    const flops = 96 * B * s * l * h ** 2 * (1 + s / (6 * h) + V / (16 * l * h))
    expect(publishedSeconds(row('Megatron 2021, 1T'))).toBeCloseTo(flops / (163e12 * 3072), 6)
  })

  test('and without recomputation: 72·B·s·l·h²·(1 + s/6h + V/12lh)', () => {
    const [B, s, l, h, V] = [192, 4096, 24, 2048, 131_072]
    const flops = 72 * B * s * l * h ** 2 * (1 + s / (6 * h) + V / (12 * l * h))
    expect(publishedSeconds(row('Megatron-Core 2024, 1.7B'))).toBeCloseTo(flops / (408.8e12 * 48), 6)
  })

  test('tokens a second and device, and sequences a second', () => {
    expect(publishedSeconds(row('OLMoE'))).toBeCloseTo((1024 * 4096) / (23_600 * 128), 10)
    expect(publishedSeconds(row('DeepSpeed-MoE'))).toBeCloseTo(512 / 372, 10)
  })

  test('memory is not a time', () => {
    expect(publishedSeconds(row('nanotron'))).toBeUndefined()
  })
})
