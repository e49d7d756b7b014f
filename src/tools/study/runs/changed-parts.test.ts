/** The notes of a study about parts of the user's own that changed since results were made. */
import { writeFile } from 'node:fs/promises'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import type { SpecificationInput } from '../specification.ts'
import { FakeStudy, recorder } from '../testing/fake-study.ts'
import { runStudy } from './run-study.ts'

let fake: FakeStudy
beforeEach(async () => {
  fake = await FakeStudy.open()
  vi.stubEnv('XDG_CACHE_HOME', fake.file('home'))
})
afterEach(async () => {
  vi.unstubAllEnvs()
  await fake.close()
})

/** A router that sends every token to expert 0, with gate 1. */
const routerOf = (version: string): string => `
  import { add, constant, zeros } from 'choir/graph'
  // ${version}
  export default {
    choose({ x_TD }) {
      const shape = [x_TD.shape[0], 1]
      return { expert_TK: zeros(shape, constant(0, 'int32')), gate_TK: add(zeros(shape, x_TD), 1) }
    },
  }`

/** Runs the study with a version of the router; returns the number of jobs, and the notes before the first of them. */
async function start(version: string, more: Partial<SpecificationInput> = {}) {
  fake.events.length = 0
  await writeFile(fake.file('mine.js'), routerOf(version))
  const { jobs, run } = recorder()
  const arms = { plain: {}, mine: { 'model.moe.router': fake.file('mine.js') } }
  await runStudy(fake.specification({ seeds: [1, 2], arms, ...more }), fake.options(), run)
  const begin = fake.events.findIndex(({ kind }) => kind === 'begin')
  const before = begin < 0 ? fake.events : fake.events.slice(0, begin)
  const notes = before.flatMap((event) => (event.kind === 'note' ? [event.message] : []))
  return { jobs: jobs.length, notes: notes.filter((note) => note.includes('changed')) }
}

test('a changed part is named before its runs are trained again, with the number of results that cannot be used', async () => {
  expect(await start('one')).toEqual({ jobs: 4, notes: [] })
  expect(await start('one')).toEqual({ jobs: 0, notes: [] })
  const { jobs, notes } = await start('two')
  expect(jobs).toBe(2)
  expect(notes).toEqual([
    expect.stringMatching(
      /^the router mine changed: 2 results were made with another version of it \(mine@[0-9a-f]{16}; now mine@[0-9a-f]{16}\) and cannot be used, so these runs are trained again/,
    ),
  ])
  // Both versions have results now, so nothing is lost and nothing is trained.
  expect(await start('two')).toEqual({ jobs: 0, notes: [] })
  expect(await start('one')).toEqual({ jobs: 0, notes: [] })
})

test('results that other settings exclude too are not laid to the part', async () => {
  await start('one')
  const arms = { plain: {}, mine: { 'model.moe.router': fake.file('mine.js'), 'train.schedule.learningRate': 0.007 } }
  expect(await start('two', { arms })).toEqual({ jobs: 2, notes: [] })
  expect((await start('three', { seeds: [1, 2, 3], arms })).notes).toEqual([
    expect.stringContaining('2 results were made'),
  ])
})
