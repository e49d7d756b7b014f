import { expect, test } from 'vitest'
import { COLOURS } from '../../../core/charts/palette.ts'
import { contrastMarks, marksOf } from './arm-marks.ts'
import type { Runs } from './runs.ts'

const contrasts = (baseline: string, ...arms: string[]) => arms.map((arm) => ({ baseline, arm }))
const studyOf = (...questions: ReturnType<typeof contrasts>[]) =>
  ({ results: { questions: questions.map((all) => ({ contrasts: all })) } }) as unknown as Pick<Runs, 'results'>
const names = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => `arm ${from + i}`)

test('an arm has the same mark in every figure, whatever lines are beside it', () => {
  const study = studyOf(contrasts('dense', 'a', 'b'), contrasts('a', 'c', 'b'))
  const [a, b] = contrastMarks(study, contrasts('dense', 'a', 'b'))
  const [c, again] = contrastMarks(study, contrasts('a', 'c', 'b'))
  expect(again).toBe(b)
  expect(marksOf(study, ['b'])).toEqual([b])
  expect(new Set([a, b, c]).size).toBe(3)
})

test('arms of a question have different colours as long as there are colours', () => {
  const study = studyOf(
    contrasts('base', ...names(0, 9)),
    contrasts('other', ...names(20, 29)),
    contrasts('arm 3', 'arm 21'),
  )
  const colours = (arms: readonly string[]) => new Set(marksOf(study, arms).map((mark) => mark % COLOURS)).size
  expect(colours(['base', ...names(0, 9)])).toBe(10)
  expect(colours(['other', ...names(20, 29)])).toBe(10)
  expect(colours(['arm 3', 'arm 21'])).toBe(2)
})

test('more arms than colours have different marks', () => {
  const arms = names(0, 30)
  expect(new Set(marksOf(studyOf(contrasts('base', ...arms)), arms)).size).toBe(30)
})

test('lines of one arm beside another arm have its colour and different marks', () => {
  const all = [...contrasts('x', 'a'), ...contrasts('y', 'a', 'b')]
  const [first = 0, second = 0, other = 0] = contrastMarks(studyOf(all), all)
  expect(second).not.toBe(first)
  expect(second % COLOURS).toBe(first % COLOURS)
  expect(other % COLOURS).not.toBe(first % COLOURS)
})

test('lines of one arm alone have the colours of its baselines', () => {
  const all = [...contrasts('x', 'a'), ...contrasts('y', 'a')]
  const study = studyOf(all)
  expect(contrastMarks(study, all)).toEqual(marksOf(study, ['x', 'y']))
  expect(contrastMarks(study, all.slice(1))).toEqual(marksOf(study, ['a']))
})
