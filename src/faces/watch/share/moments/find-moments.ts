/** Finds the moments of a run, and chooses the few that are shown. */
import { type Moment, momentKinds } from '../shared-run.ts'
import { dropMoments } from './drop-moments.ts'
import { expertMoments } from './expert-moments.ts'
import { heldOutMoments, trainingMoments } from './loss-moments.ts'
import { MAX_MOMENTS } from './rules.ts'
import type { LossSeries, RouterSeries, Sized } from './series.ts'

export interface MeasuredRun {
  readonly routers: readonly RouterSeries[]
  readonly heldOut: LossSeries
  readonly training: LossSeries
}

/** @returns the most notable moments in order of steps, and the number of all */
export function findMoments({ routers, heldOut, training }: MeasuredRun): { shown: Moment[]; found: number } {
  const all = [
    ...routers.flatMap((router) => [...expertMoments(router), ...dropMoments(router)]),
    ...heldOutMoments(heldOut),
    ...trainingMoments(training),
  ]
  return { shown: chosen(all).map(({ size: _, ...moment }) => moment), found: all.length }
}

/** The largest of each kind in turns. Of equal ones the earlier comes first. */
function chosen(all: readonly Sized[]): Sized[] {
  const byKind = momentKinds.map((kind) =>
    all.filter((moment) => moment.kind === kind).sort((a, b) => b.size - a.size || a.step - b.step),
  )
  const longest = Math.max(...byKind.map(({ length }) => length))
  const inTurns = Array.from({ length: longest }, (_, turn) => byKind.flatMap((kind) => kind.slice(turn, turn + 1)))
  return inTurns
    .flat()
    .slice(0, MAX_MOMENTS)
    .sort((a, b) => a.step - b.step)
}
