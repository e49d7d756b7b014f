import { expect, test } from 'vitest'
import { capacityScalars } from './capacity-scalars.ts'

const under = (loss: number) => ({ loss, bits_per_byte: loss / 2, drop_rate: loss / 10, unserved_rate: loss / 20 })
const capacities = { train: under(6), eval: under(5), none: { ...under(4), drop_rate: 0, unserved_rate: 0 } }

test('an evaluation has scalars of its other capacity rules, without drop rates for dropless', () => {
  expect(capacityScalars({ capacity: 'eval', capacities })).toEqual({
    'train_capacity/loss': 6,
    'train_capacity/bits_per_byte': 3,
    'train_capacity/drop_rate': 0.6,
    'train_capacity/unserved_rate': 0.3,
    'dropless/loss': 4,
    'dropless/bits_per_byte': 2,
  })
  expect(Object.keys(capacityScalars({ capacity: 'none', capacities }))).toEqual(
    ['train_capacity', 'eval_capacity'].flatMap((rule) =>
      ['loss', 'bits_per_byte', 'drop_rate', 'unserved_rate'].map((field) => `${rule}/${field}`),
    ),
  )
})

test('a line of an earlier version, or a malformed one, gives only the values that it has', () => {
  expect(capacityScalars({ loss: 3 })).toEqual({})
  for (const strange of [null, 7, 'text', [], { train: null, none: 4, other: under(1) }])
    expect(capacityScalars({ capacity: 'eval', capacities: strange })).toEqual({})
  expect(capacityScalars({ capacities: { train: { loss: null, drop_rate: 0.5, more: 1 } } })).toEqual({
    'train_capacity/drop_rate': 0.5,
  })
})
