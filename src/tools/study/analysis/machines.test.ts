/** Studies whose runs were done on several machines: times of different machines are not compared. */
import { expect, test } from 'vitest'
import type { Table } from '../../report/blocks.ts'
import { type ArmSketch, type StudySketch, studyOf } from '../testing/results.ts'
import { factsOf } from './facts.ts'
import { Runs } from './runs.ts'
import { costTable } from './sections/convergence.ts'
import { timingTable } from './sections/timings.ts'

const contrast = { baseline: 'base', arm: 'arm' }
const runsOf = (base: ArmSketch, arm: ArmSketch, more: Partial<StudySketch> = {}) =>
  new Runs(studyOf({ arms: { base, arm }, seeds: [1, 2, 3], ...more }))

/** An arm that takes twice the seconds of the baseline, trained on a slow machine with the given seeds. */
const slowIn = (...seeds: number[]): ArmSketch => ({
  seconds: 200,
  machine: (seed) => (seeds.includes(seed) ? 'A slow CPU' : 'A fast CPU'),
})
const base: ArmSketch = { machine: () => 'A fast CPU' }
const seconds = (table: Table | null) => JSON.stringify(table?.rows[0]?.at(-1))

test('training times are compared only between runs of one machine', () => {
  const all = costTable(runsOf(base, slowIn()), [contrast])
  expect(seconds(all)).toContain('2.000')
  expect(all?.caption).not.toContain('one machine')
  const some = costTable(runsOf(base, slowIn(3)), [contrast])
  expect(seconds(some)).toContain('2.000')
  expect(some?.caption).toContain('Seconds are those of pairs that were trained on one machine')
  const none = costTable(runsOf(base, slowIn(1, 2, 3)), [contrast])
  expect(seconds(none)).not.toMatch(/\d/)
})

test('a report of several machines names them, and the machine on which steps were timed', () => {
  const timings = ['base', 'arm'].map((arm) => ({
    arm,
    stepMs: 10,
    turnsMs: [10, 10, 10],
    engine: '',
    machine: 'A fast CPU',
  }))
  const [one, several] = [runsOf(base, slowIn(), { timings }), runsOf(base, slowIn(2), { timings })]
  expect(factsOf(one).filter((fact) => /machine/i.test(fact))).toEqual(['Machine: A fast CPU'])
  expect(factsOf(several).filter((fact) => /machine/i.test(fact))).toEqual([
    'Machine: A fast CPU',
    'Machine: A slow CPU',
    expect.stringMatching(/round differently.*times are not compared/),
  ])
  expect(timingTable(one, [contrast])?.caption).not.toContain('A fast CPU')
  expect(timingTable(several, [contrast])?.caption).toContain('measured on A fast CPU with nothing else running')
})

test('a report names the program, the engines, and the parts of its own with the hashes of their files', () => {
  const study = studyOf({ arms: { base, arm: slowIn() }, seeds: [1, 2] })
  const own = 'mine@0123456789abcdef'
  const cells = study.cells.map((cell, i) => {
    if (cell.record?.status !== 'finished') return cell
    const { config } = cell.record
    const engine =
      i === 0 ? 'oneDNN 3.7.2, float32, 1 thread; MLAS, float32, 1 thread' : 'oneDNN 3.7.2, float32, 1 thread'
    const moe = config.model.moe && { ...config.model.moe, router: 'own' as const, own }
    const model = cell.arm === 'arm' ? { ...config.model, moe } : config.model
    return { ...cell, record: { ...cell.record, program: '0.1.0', engine, config: { ...config, model } } }
  })
  expect(factsOf(new Runs({ ...study, cells })).filter((fact) => /^(Program|Engine|Parts)/.test(fact))).toEqual([
    'Program: Choir 0.1.0',
    'Engine: MLAS, float32, 1 thread; oneDNN 3.7.2, float32, 1 thread',
    `Parts of its own, each with the hash of its file: router ${own}`,
  ])
  const plain = factsOf(new Runs(study)).join()
  expect(plain).not.toContain('Parts of its own')
})
