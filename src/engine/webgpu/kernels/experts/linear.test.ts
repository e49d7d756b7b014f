/**
 * The rows of each expert times its matrix, against plain loops.
 *
 * @slow
 */
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
import { operandOf } from '../contract.ts'
import { expertLinear, expertLinearGradient } from './linear.ts'

const oneSource = { leaves: 1, parts: 1, sources: 1 }

describe.skipIf(testDevice === null)('expert-linear', { timeout: 60_000 }, () => {
  const many = Array.from({ length: 301 }, (_, e) => (e === 270 ? 40 : e % 3))
  const cases = [
    ...LAYOUTS.map((sizes) => ({ rows: sizes.join(' '), sizes, D: 20, X: 36 })),
    { rows: 'odd widths', sizes: LAYOUTS[0] as number[], D: 7, X: 5 },
    { rows: 'of more experts than invocations', sizes: many, D: 4, X: 8 },
  ]

  test.each(cases)('forward and gradient match plain loops: D = $D, X = $X, rows: $rows', async ({ sizes, D, X }) => {
    const rows = new PackedRows(sizes)
    const [x, dy] = [rows.random(D, 1), rows.random(X, 2)]
    const [weights, addend] = [randomTensor([rows.experts, D, X], 3), randomTensor([rows.experts, D, X], 4)]
    const [ofX, ofDy, ofWeights] = [rows.split(x, D), rows.split(dy, X), matricesOf(weights)]
    const byExpert = (of: (x: Matrix, dy: Matrix, w: Matrix) => Matrix) =>
      ofWeights.map((w, e) => of(ofX[e] as Matrix, ofDy[e] as Matrix, w))

    const inputs = { rows: x, sizes: rows.sizes, weights }
    const { y } = await runTwice(expertLinear, { inputs, outputs: { y: float([rows.count, X]) } })
    rows.expect(
      y,
      X,
      byExpert((x, _, w) => multiply(x, w, X)),
    )

    const { dRows, dWeights } = await runTwice(expertLinearGradient, {
      attributes: oneSource,
      inputs: { dy, ...inputs },
      outputs: { dRows: float([rows.count, D]), dWeights: float(weights.shape) },
      addends: { dWeights: addend },
    })
    rows.expect(
      dRows,
      D,
      byExpert((_, dy, w) => multiply(dy, transpose(w, X), D)),
    )
    const gradients = byExpert((x, dy) => multiply(transpose(x, D), dy, X))
    const added = matricesOf(addend).map((matrix, e) => zip(gradients[e] as Matrix, matrix, plus))
    expectExact(dWeights, added.flat(2))
  })

  test('a gradient without rows is the addend, or zero', async () => {
    const [weights, addend] = [randomTensor([2, 2, 3], 1), randomTensor([2, 2, 3], 2)]
    const sizes = { dtype: 'int64', shape: [3], data: [0, 0, 0] } as const
    const call = {
      attributes: oneSource,
      inputs: { dy: float([0, 3]), rows: float([0, 2]), sizes, weights },
      outputs: { dRows: float([0, 2]), dWeights: float([2, 2, 3]) },
    }
    expect((await runTwice(expertLinearGradient, call)).dWeights).toEqual(new Float64Array(12))
    const { dWeights } = await runTwice(expertLinearGradient, { ...call, addends: { dWeights: addend } })
    expect(dWeights).toEqual(Float64Array.from(addend.data))
  })

  test('rows of several ranks use the same matrices, and each rank has gradients of its own', async () => {
    const [experts, sources, D, X] = [3, 2, 8, 5]
    // By rank, and within it by expert.
    const rows = new PackedRows([4, 0, 9, 2, 7, 1, 3])
    const [x, dy] = [rows.random(D, 1), rows.random(X, 2)]
    const weights = randomTensor([experts, D, X], 3)
    const [ofX, ofDy, ofWeights] = [rows.split(x, D), rows.split(dy, X), matricesOf(weights)]
    const matrixOf = (block: number) => ofWeights[block % experts] as Matrix
    const inputs = { rows: x, sizes: rows.sizes, weights }
    const { y } = await runTwice(expertLinear, { inputs, outputs: { y: float([rows.count, X]) } })
    rows.expect(
      y,
      X,
      ofX.map((of, block) => multiply(of, matrixOf(block), X)),
    )
    const addend = randomTensor([experts, sources, D, X], 4)
    const { dRows, dWeights } = await runTwice(expertLinearGradient, {
      attributes: { leaves: 1, parts: sources, sources },
      inputs: { dy, ...inputs },
      outputs: { dRows: float([rows.count, D]), dWeights: float(addend.shape) },
      addends: { dWeights: addend },
    })
    rows.expect(
      dRows,
      D,
      ofDy.map((of, block) => multiply(of, transpose(matrixOf(block), X), D)),
    )
    const gradients = Array.from({ length: experts * sources }, (_, i) => {
      const block = (i % sources) * experts + Math.floor(i / sources)
      return multiply(transpose(ofX[block] as Matrix, D), ofDy[block] as Matrix, X)
    })
    const added = matricesOf({ ...addend, shape: [experts * sources, D, X] })
    expectExact(dWeights, gradients.map((matrix, i) => zip(matrix, added[i] as Matrix, plus)).flat(2))
  })

  test('one sum over several ranks is refused', () => {
    const [rows, sizes] = [operandOf('float32', [8, 2]), operandOf('int64', [5])]
    const inputs = { dy: operandOf('float32', [8, 3]), rows, sizes, weights: operandOf('float32', [2, 2, 3]) }
    const outputs = { dRows: rows, dWeights: operandOf('float32', [2, 2, 3]) }
    const call = {
      attributes: { leaves: 2, parts: 1, sources: 2 },
      inputs,
      outputs,
      addends: {},
      scales: {},
      rounds: false,
    }
    expect(() => expertLinearGradient.lower(call)).toThrow('internal: 1 gradients of 2 sources')
  })
})
