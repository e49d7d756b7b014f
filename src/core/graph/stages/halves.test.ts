/** Tests of which values are stored as bfloat16. */
import { expect, test } from 'vitest'
import { add, negate } from '../ops/elementwise.ts'
import { reshape } from '../ops/shape.ts'
import { input, type Tensor } from '../tensor.ts'
import type { Halves } from './contract.ts'
import { cut } from './cut.ts'
import { kernel } from './testing/staged-programs.ts'

const x = input('x', 'float32', [2, 3])
const table: Record<string, Halves> = {
  makes: { inputs: [], outputs: ['y'] },
  reads: { inputs: ['a'], outputs: [] },
  changes: { inputs: ['a'], outputs: ['y'] },
  moves: { inputs: ['a'], outputs: ['y'], same: true },
}
const one = (type: string, ...inputs: Tensor[]): Tensor => kernel(type, inputs, {})[0] as Tensor
const sums = (type: string, ...inputs: Tensor[]): Tensor => kernel(type, inputs, { addsTo: ['y'] })[0] as Tensor

/** The type of the first output of each kernel, by kernel. */
function types(outputs: Record<string, Tensor>): Record<string, string> {
  const model = cut({ outputs }, { halves: (name) => table[name] })
  return Object.fromEntries(
    model.stages.flatMap((stage) =>
      stage.kind === 'kernel' ? [[stage.type, model.values[stage.outputs[0]?.value as number]?.dtype as string]] : [],
    ),
  )
}

test('a value between kernels that list it is bfloat16, also reshaped and along a chain', () => {
  const y = one('changes', reshape(one('makes', x), [6]))
  expect(types({ y: one('reads', y) })).toEqual({ makes: 'bfloat16', changes: 'bfloat16', reads: 'float32' })
})

test('no value is bfloat16 without a list of kernels', () => {
  const model = cut({ outputs: { y: one('reads', one('makes', x)) } })
  expect(model.values.every(({ dtype }) => dtype === 'float32')).toBe(true)
})

test('ports are float32, and so are values that an unlisted kernel, an unlisted operand or an ONNX model reads', () => {
  const y = one('makes', x)
  expect(types({ y, z: one('reads', y) }).makes).toBe('float32')
  expect(types({ z: one('reads', y), w: one('other', y) }).makes).toBe('float32')
  expect(types({ z: one('reads', y), w: one('reads', x, y) }).makes).toBe('float32')
  expect(types({ z: one('reads', y), w: negate(y) }).makes).toBe('float32')
  expect(types({ z: one('reads', x) }).reads).toBe('float32')
})

test('a value that a kernel moves as bytes has the same type before and after', () => {
  const moved = one('moves', one('makes', x))
  expect(types({ y: one('reads', moved) })).toEqual({ makes: 'bfloat16', moves: 'bfloat16', reads: 'float32' })
  expect(types({ y: one('other', moved) })).toEqual({ makes: 'float32', moves: 'float32', other: 'float32' })
  expect(types({ y: one('reads', one('moves', one('other', x))) }).moves).toBe('float32')
})

test('addends, and results with an addend, are float32', () => {
  const y = one('makes', x)
  const sum = add(one('other', x), sums('changes', y))
  const all = types({ z: one('reads', sum) })
  expect(all.makes).toBe('bfloat16')
  expect(all.changes).toBe('float32')
  expect(types({ z: add(one('makes', x), sums('reads', one('other', x))) }).makes).toBe('float32')
})
