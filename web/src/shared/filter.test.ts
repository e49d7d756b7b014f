import { describe, expect, it } from 'vitest'
import { runWith } from '../testing/run.ts'
import { matches, parseFilter, unknownFields } from './filter.ts'

const runs = [
  runWith({ name: 'Small k1', loss: 3.2, config: { 'model.moe.k': 1, 'train.seed': 0, 'data.seed': 7 } }),
  runWith({ name: 'small k2', loss: 3.9, config: { 'model.moe.k': 2, 'train.seed': 1, 'data.seed': 7 } }),
  runWith({ name: 'trace', path: 'logs/trace', kind: 'trace', loss: null, state: 'running', config: {} }),
]
const found = (text: string) => runs.filter((run) => matches(run, parseFilter(text))).map(({ name }) => name)

describe('the filter', () => {
  it.each([
    ['', ['Small k1', 'small k2', 'trace']],
    ['SMALL', ['Small k1', 'small k2']],
    ['small k2', ['small k2']],
    ['"ll k1"', ['Small k1']],
    ['logs', ['trace']],
    ['path=logs/trace', ['trace']],
    ['model.moe.k=2', ['small k2']],
    ['moe.k=2.0', ['small k2']],
    ['k:1', ['Small k1']],
    ['train.seed!=1', ['Small k1', 'trace']],
    ['seed=7', ['Small k1', 'small k2']],
    ['seed!=0', ['small k2', 'trace']],
    ['loss<3.5', ['Small k1']],
    ['loss>=3.2 loss<=3.9', ['Small k1', 'small k2']],
    ['state:Running', ['trace']],
    ['name="small K2"', ['small k2']],
    ['name<b', []],
    ['k=1 k=2', []],
    ['constructor=1', []],
  ])('finds the runs that match "%s"', (text, names) => {
    expect(found(text)).toEqual(names)
    expect(parseFilter(text).problem).toBeNull()
  })

  it('reports an unfinished term and applies the others', () => {
    expect(parseFilter('small loss<').problem).toBe('loss< lacks a value, as in loss<2')
    expect(parseFilter('name="small').problem).toBe('name="small lacks its closing quote')
    expect(found('small loss<')).toEqual(['Small k1', 'small k2'])
  })

  it('finds fields that no run has', () => {
    expect(unknownFields(parseFilter('moe.k=1 mode.k=2 loss<2 toString=1'), runs)).toEqual(['mode.k', 'toString'])
  })
})
