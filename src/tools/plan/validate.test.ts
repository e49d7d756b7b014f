import { describe, expect, test } from 'vitest'
import { constantNames, efficiencyFamilies } from './inputs/constants.ts'
import { intervalFactors, withoutFamily, withoutSystem } from './inputs/fitted.ts'
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

  const totals = (metric: 'step time' | 'memory') => {
    const found = validation.accuracy.find((each) => each.metric === metric && each.system === 'all')
    if (!found) throw new Error(`no accuracy of ${metric}`)
    return found
  }

  test('has a median error of step time of at most 20 % for systems left out of the fit, 12 % for others', () => {
    expect(totals('step time').leftOut).toBeLessThanOrEqual(0.2)
    expect(totals('step time').fitted).toBeLessThanOrEqual(0.12)
    expect(totals('step time').rows).toBeGreaterThan(150)
  })

  test('has a median error of memory of at most 8 %', () => {
    expect(totals('memory').leftOut).toBeLessThanOrEqual(0.08)
  })

  test('finds about 80 % of the rows in the intervals learnt from other systems', () => {
    expect(totals('step time').held).toBeGreaterThan(0.75)
    expect(totals('memory').held).toBeGreaterThan(0.7)
  })

  test('has constants without each system, and without each family of devices', () => {
    const systems = new Set(validation.rows.filter(({ metric }) => metric === 'step time').map(({ row }) => row.system))
    expect(new Set(Object.keys(withoutSystem))).toEqual(systems)
    expect(Object.keys(withoutFamily)).toEqual([...efficiencyFamilies])
    for (const values of [...Object.values(withoutSystem), ...Object.values(withoutFamily)])
      expect(values).toHaveLength(constantNames.length)
  })

  test('is less accurate on devices whose family was left out', () => {
    expect(validation.factors.stepTimeUnfitted).toBeGreaterThan(validation.factors.stepTime)
  })

  test('gives the factors that predictions are printed with', () => {
    for (const name of ['stepTime', 'stepTimeUnfitted', 'memory'] as const)
      expect(intervalFactors[name] / validation.factors[name]).toBeCloseTo(1, 3)
  })
})

describe('the seconds of a step follow from', () => {
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

  test("Megatron's FLOP/s without recomputation: 72·B·s·l·h²·(1 + s/6h + V/12lh)", () => {
    const [B, s, l, h, V] = [192, 4096, 24, 2048, 131_072]
    const flops = 72 * B * s * l * h ** 2 * (1 + s / (6 * h) + V / (12 * l * h))
    expect(publishedSeconds(row('Megatron-Core 2024, 1.7B'))).toBeCloseTo(flops / (408.8e12 * 48), 6)
  })

  test('rates of tokens a second and device, and of sequences a second', () => {
    expect(publishedSeconds(row('OLMoE'))).toBeCloseTo((1024 * 4096) / (23_600 * 128), 10)
    expect(publishedSeconds(row('DeepSpeed-MoE'))).toBeCloseTo(512 / 372, 10)
  })

  test('no published memory', () => {
    expect(publishedSeconds(row('nanotron'))).toBeUndefined()
  })
})
