/** The rows of each expert times its matrix, against plain loops. */
import { describe, expect, test } from 'vitest'
import {
  expectExact,
  float,
  type Matrix,
  multiply,
  plus,
  randomTensor,
  runTwice,
  transpose,
  zip,
} from '../../testing/exact.ts'
import { LAYOUTS, matricesOf, PackedRows } from '../../testing/packed-rows.ts'
import { testDevice } from '../../testing/run-kernel.ts'
import { expertLinear, expertLinearGradient } from './linear.ts'

describe.skipIf(testDevice === null)('expert-linear', { timeout: 60_000 }, () => {
  const many = Array.from({ length: 301 }, (_, e) => (e === 270 ? 40 : e % 3))
  const cases = [
    ...LAYOUTS.map((sizes) => ({ rows: sizes.join(' '), sizes, D: 20, X: 36 })),
    { rows: 'odd widths', sizes: LAYOUTS[0] as number[], D: 7, X: 5 },
    { rows: 'of more experts than invocations', sizes: many, D: 4, X: 8 },
  ]

  test.each(cases)('forward and gradient, D = $D, X = $X, rows: $rows', async ({ sizes, D, X }) => {
    const rows = new PackedRows(sizes)
    const [x, dy] = [rows.random(D, 1), rows.random(X, 2)]
    const [weights, addend] = [randomTensor([rows.experts, D, X], 3), randomTensor([rows.experts, D, X], 4)]
    const [ofX, ofDy, ofWeights] = [rows.split(x, D), rows.split(dy, X), matricesOf(weights)]
    const byExpert = (of: (x: Matrix, dy: Matrix, w: Matrix) => Matrix) =>
      ofWeights.map((w, e) => of(ofX[e] as Matrix, ofDy[e] as Matrix, w))

    const outputs = [float([rows.count, X])]
    const [y = []] = await runTwice(expertLinear, { inputs: [x, rows.sizes, weights], outputs })
    rows.expect(
      y,
      X,
      byExpert((x, _, w) => multiply(x, w, X)),
    )

    const [dx = [], dWeights = []] = await runTwice(expertLinearGradient, {
      inputs: [dy, x, rows.sizes, weights, addend],
      outputs: [float([rows.count, D]), float(weights.shape)],
      added: [1],
    })
    rows.expect(
      dx,
      D,
      byExpert((_, dy, w) => multiply(dy, transpose(w, X), D)),
    )
    const gradients = byExpert((x, dy) => multiply(transpose(x, D), dy, X))
    const added = matricesOf(addend).map((matrix, e) => zip(gradients[e] as Matrix, matrix, plus))
    expectExact(dWeights, added.flat(2))
  })

  test('a gradient without rows is the addend, or zero', async () => {
    const empty = [float([0, 3]), float([0, 2]), { dtype: 'int64', shape: [3], data: [0, 0, 0] }] as const
    const [weights, addend] = [randomTensor([2, 2, 3], 1), randomTensor([2, 2, 3], 2)]
    const outputs = [float([0, 2]), float([2, 2, 3])]
    const [, zeros] = await runTwice(expertLinearGradient, { inputs: [...empty, weights], outputs })
    expect(zeros).toEqual(new Float64Array(12))
    const inputs = [...empty, weights, addend]
    const [, same] = await runTwice(expertLinearGradient, { inputs, outputs, added: [1] })
    expect(same).toEqual(Float64Array.from(addend.data))
  })

  test('rows of several sources are refused', () => {
    const operand = (shape: number[], size = 1) => ({ dtype: 'float32' as const, shape, size })
    const inputs = [operand([8, 2]), operand([5], 5), operand([2, 2, 3])]
    const call = { type: 'expert-linear', attributes: {}, inputs, outputs: [operand([8, 3])], added: [] }
    expect(() => expertLinear.lower(call, { f16: false, subgroups: false })).toThrow('internal: 5 sizes for 2 experts')
  })
})
