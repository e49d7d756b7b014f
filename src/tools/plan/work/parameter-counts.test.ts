import { describe, expect, test } from 'vitest'
import { modelSchema } from '../../../core/model/config.ts'
import { describeModel } from '../../../core/model/describe.ts'
import { loadPlannedRun } from '../inputs/load-plan.ts'
import { sum } from '../testing/cases.ts'
import { countParameters } from './parameter-counts.ts'
import { describePlanned } from './planned-model.ts'

const billions = (number: number, digits: number) => (number / 1e9).toFixed(digits)

describe('parameters of published models', () => {
  // The paper's totals are experts, attention and embedding: L·N·2·D·F + L·4·D² + V·D.
  test.each([
    ['m6t-base', '1.385', 3],
    ['m6t-10b', '10.80', 2],
    ['m6t-100b', '103.2', 1],
    ['m6t-1t', '1002.7', 1],
  ])('%s has %s billion', async (name, printed, digits) => {
    const { kinds } = countParameters((await loadPlannedRun(name, [])).model)
    const { experts, attention } = kinds
    expect(billions(experts + attention + kinds['embedding and head'], digits)).toBe(printed)
  })

  test('M6-10T has 78.5 GB of expert weights in float32 on each of 512 devices', async () => {
    const { kinds } = countParameters((await loadPlannedRun('m6-10t', [])).model)
    expect(((kinds.experts * 4) / 512 / 1e9).toFixed(1)).toBe('78.5')
  })

  test('Switch-C has 1570.3 billion in its experts, with 15 sparse layers in encoder and decoder each', () => {
    const moe = { experts: 2048, hidden: 6144 }
    const model = modelSchema.parse({ layers: 30, width: 2080, heads: 16, moe })
    expect(billions(countParameters(model).kinds.experts, 1)).toBe('1570.3')
  })
})

describe("parameters of today's models, all and active, as their authors print them", () => {
  test.each([
    ['mixtral-8x7b', 46.7, 12.9],
    ['mixtral-8x22b', 141, 39],
    ['olmoe-1b-7b', 6.92, 1.28],
    ['qwen3-30b-a3b', 30.5, 3.3],
    ['qwen3-235b-a22b', 235, 22],
    ['deepseek-v3', 671, 37],
  ])('%s: %s and %s billion', async (name, total, active) => {
    const { model, plan } = await loadPlannedRun(name, [])
    const within = (number: number, printed: number) => Math.abs(number / 1e9 / printed - 1)
    expect(within(countParameters(model, plan.latent).total, total)).toBeLessThan(0.004)
    expect(within(describePlanned(model, plan.latent).activeParameters, active)).toBeLessThan(0.02)
  })

  test('GLaM has 1.2 trillion, 96.6 billion active', async () => {
    const { model } = await loadPlannedRun('glam-64b-64e', [])
    expect((countParameters(model).total / 1e12).toFixed(1)).toBe('1.2')
    expect(billions(describePlanned(model, null).activeParameters, 1)).toBe('96.6')
  })

  // The planner leaves out sinks (a number for a head), biases of experts (3·2880 numbers each) and biases of routers.
  test.each([
    ['gpt-oss-20b', 20.91, 24, 32],
    ['gpt-oss-120b', 116.83, 36, 128],
  ])('%s has %s billion with sinks and biases of routers and experts', async (name, printed, layers, experts) => {
    const { model } = await loadPlannedRun(name, [])
    const missing = layers * (experts * (3 * 2880 + 1) + 64)
    expect(billions(countParameters(model).total + missing, 2)).toBe(String(printed))
  })

  test('agree with the description of the model if attention is not latent', async () => {
    for (const name of ['mixtral-8x7b', 'm6t-base']) {
      const { model } = await loadPlannedRun(name, [])
      const { activeParameters, flopsPerToken } = describeModel(model)
      expect(describePlanned(model, null)).toMatchObject({ activeParameters, flopsPerToken })
    }
  })
})

describe('parameter counts', () => {
  const shapes: [string, object][] = [
    ['dense', { moe: null }],
    ['sparse', {}],
    ['every other layer', { layers: 4, moe: { every: 2 } }],
    ['dense layers before sparse ones', { layers: 4, moe: { from: 3 } }],
    ['untied, learned positions, layer norm', { tied: false, positions: 'learned', norm: 'layer' }],
    ['swiglu with a shared expert', { activation: 'swiglu', moe: { sharedHidden: 64 } }],
    ['experts in attention', { moe: { attention: 'all', router: 'bias' } }],
    ['hash', { moe: { router: 'hash' } }],
  ]

  test.each(shapes)('add up to the parameters of the model: %s', (_, over) => {
    const model = modelSchema.parse(over)
    const { layers, embedding, head, total, kinds } = countParameters(model)
    const counts = [...layers, embedding, head].map(({ dense, experts }) => dense.parameters + experts.parameters)
    expect(counts.reduce((a, b) => a + b, 0)).toBe(total)
    expect(sum(kinds)).toBe(total)
    expect(total).toBe(describeModel(model).parameters)
  })

  test('include a row and a column for the factored moment of each matrix of each expert', () => {
    const model = modelSchema.parse({ layers: 1, width: 64, moe: { experts: 8, hidden: 128 } })
    const [layer] = countParameters(model).layers
    expect(layer?.experts).toEqual({
      parameters: 8 * 2 * 64 * 128,
      factored: 8 * 2 * (64 + 128),
      multiplied: 8 * 2 * 64 * 128,
    })
  })
})
