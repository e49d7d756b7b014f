/**
 * The marks (colour, shape and dash) of arms. An arm has one mark in all figures of a report. A study may have more arms
 * than there are colours, so arms share a colour if possible only when no question, and so no figure, has both.
 */
import { COLOURS } from '../../../core/charts/palette.ts'
import type { Contrast, Question } from '../contract.ts'
import type { Runs } from './runs.ts'

/** Numbers of the marks of all arms in contrasts, in the order of the questions. */
function armMarks(questions: readonly Pick<Question, 'contrasts'>[]): ReadonlyMap<string, number> {
  const groups = questions.map(({ contrasts }) => new Set(contrasts.flatMap(({ baseline, arm }) => [baseline, arm])))
  const marks = new Map<string, number>()
  const uses = Array.from({ length: COLOURS }, () => 0)
  for (const arm of groups.flatMap((group) => [...group])) {
    if (marks.has(arm)) continue
    const beside = groups.filter((group) => group.has(arm)).flatMap((group) => [...group])
    const taken = new Set(beside.map((other) => marks.get(other)))
    const free = uses.flatMap((count, mark) => (taken.has(mark) ? [] : [{ mark, count }]))
    let [mark = COLOURS] = free.toSorted((a, b) => a.count - b.count).map((one) => one.mark)
    while (taken.has(mark)) mark++
    marks.set(arm, mark)
    uses[mark % COLOURS] = (uses[mark % COLOURS] ?? 0) + 1
  }
  return marks
}

/** Marks of arms, one for each. Further lines of an arm keep its colour and get another shape and dash. */
export function marksOf({ results }: Pick<Runs, 'results'>, arms: readonly string[]): number[] {
  const marks = armMarks(results.questions)
  const used = new Set<number>()
  return arms.map((arm) => {
    let mark = marks.get(arm) ?? 0
    while (used.has(mark)) mark += COLOURS
    used.add(mark)
    return mark
  })
}

/** Marks of the lines of contrasts: those of their arms, or of their baselines if all are contrasts of one arm. */
export function contrastMarks(runs: Pick<Runs, 'results'>, contrasts: readonly Contrast[]): number[] {
  const isOneArm = new Set(contrasts.map(({ arm }) => arm)).size === 1 && contrasts.length > 1
  return marksOf(
    runs,
    contrasts.map(({ arm, baseline }) => (isOneArm ? baseline : arm)),
  )
}
