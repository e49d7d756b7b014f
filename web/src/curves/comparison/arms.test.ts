import { describe, expect, it } from 'vitest'
import type { FlatConfig, RunSummary } from '../../../../src/faces/watch/api.ts'
import { runWith } from '../../testing/run.ts'
import { type Arm, armsOf, contrastsOf } from './arms.ts'

const run = (id: string, k: number, seed: number, more: FlatConfig = {}, fields: Partial<RunSummary> = {}) =>
  runWith({
    id,
    name: `study/top-${k}, seed ${seed}`,
    path: id,
    config: {
      'study.arm': `top-${k}`,
      'model.moe.k': k,
      'train.seed': seed,
      'data.seed': 7,
      'data.order': seed,
      'train.batch': 8,
      'train.steps': 100,
      ...more,
    },
    ...fields,
  })

const ids = (runs: Arm['runs']) => runs.map(({ id }) => id)

describe('arms', () => {
  it('are the runs of all seeds of an experiment, under the name that they share', () => {
    const arms = armsOf([run('a', 1, 1), run('b', 2, 1), run('c', 1, 2), run('d', 2, 10), runWith({ id: 'trace' })])
    expect(arms.map(({ name, runs }) => [name, ids(runs)])).toEqual([
      ['study/top-1', ['a', 'c']],
      ['study/top-2', ['b', 'd']],
    ])
  })

  it('of a single run have its name without the seed of a study', () => {
    expect(armsOf([run('a', 1, 3)])[0]?.name).toBe('study/top-1')
    const named = (name: string) => armsOf([run('a', 1, 3, {}, { name })])[0]?.name
    expect(named('top-1, seed 3, lr 0.1')).toBe('top-1, lr 0.1')
    expect(named('many-experts')).toBe('many-experts')
  })

  it('do not contain the trials and the confirming runs of a study', () => {
    const trial = run('t', 1, 1, { 'study.purpose': 'trial' })
    expect(armsOf([run('a', 1, 1), trial]).map(({ runs }) => ids(runs))).toEqual([['a'], ['t']])
  })

  it('have the newest run of each seed, and the one that goes on in a copy', () => {
    const [older, newer] = [run('a', 1, 1, {}, { created: 1 }), run('b', 1, 1, {}, { created: 2 })]
    for (const runs of [
      [older, newer],
      [newer, older],
    ]) {
      const [arm] = armsOf(runs)
      expect([ids(arm?.runs ?? []), ids(arm?.repeated ?? [])]).toEqual([['b'], ['a']])
    }
    const [left, copy] = [
      run('l', 1, 1, {}, { path: 'top-1-seed-1-2ba4cd10', created: 1 }),
      run('m', 1, 1, {}, { path: 'top-1-seed-1-2ba4cd10-2', created: 1 }),
    ]
    expect(ids(armsOf([left, copy])[0]?.runs ?? [])).toEqual(['m'])
  })
})

describe('contrasts', () => {
  const contrasts = (...runs: Parameters<typeof armsOf>[0]) => {
    const arms = armsOf(runs)
    return contrastsOf(arms, arms[0] as Arm)
  }

  it('pair runs of the same seeds, and list the others', () => {
    const [found, ...others] = contrasts(run('a', 1, 1), run('b', 1, 2), run('c', 2, 2), run('d', 2, 3))
    expect(others).toEqual([])
    expect(found).toMatchObject({ pairs: [['c', 'b']], problem: null })
    expect(ids(found?.unpaired ?? [])).toEqual(['d'])
  })

  it('need the same order of the text; by default it follows the seed of the data', () => {
    const ordered = (order: FlatConfig) =>
      contrasts(run('a', 1, 1, { 'data.order': 7 }), run('b', 2, 1, order)).map(({ pairs }) => pairs.length)
    const { 'data.order': _, ...config } = run('b', 2, 1).config
    expect(contrasts(run('a', 1, 1, { 'data.order': 7 }), runWith({ id: 'b', config }))[0]?.pairs).toEqual([['b', 'a']])
    expect(ordered({ 'data.order': 7 })).toEqual([1])
    expect(ordered({ 'data.order': 8 })).toEqual([0])
  })

  it('refuse arms with other batches, text or steps, and name the difference', () => {
    const problem = (more: FlatConfig) => contrasts(run('a', 1, 1), run('b', 2, 1, more))[0]?.problem
    expect(problem({ 'train.batch': 16 })).toBe('train.batch is 16, and 8 in the baseline')
    expect(problem({ 'data.source': 'sotu' })).toBe('data.source is sotu, and not set in the baseline')
    expect(problem({ 'train.steps': 200 })).toBe('train.steps is 200, and 100 in the baseline')
    expect(problem({ 'model.width': 64 })).toBeNull()
    expect(problem({ 'train.seed': 2 })).toBe('it has no seed in common with the baseline')
  })
})
