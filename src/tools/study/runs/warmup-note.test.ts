/** The note about long warm-ups of a study. */
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { SpecificationInput } from '../specification.ts'
import { FakeStudy, recorder } from '../testing/fake-study.ts'
import { runStudy } from './run-study.ts'

let fake: FakeStudy
beforeEach(async () => {
  fake = await FakeStudy.open()
})
afterEach(() => fake.close())

/** The notes about warm-ups of a study, and whether all of them came before its first run began. */
async function notesOf(input: SpecificationInput) {
  await runStudy(fake.specification(input), fake.options(), recorder().run)
  const notes = fake.of('note').filter(({ message }) => message.includes('learning rate rises'))
  const begin = fake.events.findIndex(({ kind }) => kind === 'begin')
  expect(notes.every((note) => fake.events.indexOf(note) < begin)).toBe(true)
  return notes.map(({ message }) => message)
}

test('a study has one note for all of its runs, with the arms by their warm-up', async () => {
  const long = { 'train.schedule.warmup': 30 }
  expect(
    await notesOf({
      seeds: [1, 2],
      set: { 'train.steps': 100 },
      arms: { a: {}, b: long, c: { ...long, 'model.moe.k': 2 }, d: { 'train.schedule.warmup': 60 } },
    }),
  ).toEqual([
    'the learning rate rises for more than a quarter of the steps: 30 of 100 steps in b and c; 60 of 100 steps in d; these ' +
      'losses are those of a lower rate than train.schedule.learningRate (set train.schedule.warmup to at most a quarter ' +
      'of train.steps)',
  ])
})

test('of many arms the first five are named', async () => {
  const arms = Object.fromEntries(
    [1, 2, 3, 4, 5, 6, 7].map((i) => [`a${i}`, { 'train.schedule.learningRate': i / 1000 }]),
  )
  expect((await notesOf({ seeds: [1], set: { 'train.schedule.warmup': 10 }, arms })).join()).toContain(
    '10 of 20 steps in a1, a2, a3, a4, a5 and 2 more;',
  )
})

test('a branch has the warm-up of the whole run, so only the short ones are named', async () => {
  const schedule = { 'train.schedule.kind': 'wsd', 'train.schedule.warmup': 10 }
  const [note] = await notesOf({
    seeds: [1],
    set: { ...schedule, 'train.steps': 80 },
    branches: [0.25, 0.5, 1],
    arms: { a: {}, b: { 'model.moe.k': 2 } },
  })
  expect(note).toContain(': 10 of 20 steps in a and b; these losses')
})
