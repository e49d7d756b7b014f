import { describe, expect, test } from 'vitest'
import { modelSchema } from '../../model/config.ts'
import { describeModel } from '../../model/describe.ts'
import { loadPlannedRun } from '../inputs/load-plan.ts'
import { sum } from '../testing/cases.ts'
import { countParameters } from './parameter-counts.ts'

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
    expect(layer?.experts).toEqual({ parameters: 8 * 2 * 64 * 128, factored: 8 * 2 * (64 + 128) })
  })
})
