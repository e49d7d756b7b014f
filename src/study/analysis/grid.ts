/**
 * The grid of k, capacity rule and factor that the arms of a question span, and the comparisons that it
 * allows: two of the three held fixed, everything else equal.
 */
import type { Contrast } from '../contract.ts'
import { differOnlyIn, familyOf, type Routing, rulesOf } from './routing.ts'
import type { Runs } from './runs.ts'

export interface Family {
  /** What varies, and what is held. */
  readonly title: string
  readonly what: 'k' | 'factor' | 'rule'
  /** The capacity rule of the larger arms. */
  readonly capacity: string
  readonly contrasts: readonly Contrast[]
}

/** All comparisons of one step through the grid. */
export function familiesOf(runs: Runs, routings: readonly Routing[]): Family[] {
  return [...byK(runs, routings), ...byFactor(runs, routings), ...byRule(runs, routings)]
}

/** Paths of settings that a family may differ in. */
export const varied = {
  k: ['model.moe.k', 'model.moe.capacity', 'model.moe.factor', 'model.moe.evalFactor'],
  factor: ['model.moe.capacity', 'model.moe.factor', 'model.moe.evalFactor'],
  rule: ['model.moe.capacity'],
} as const

const factorName = (factor: number): string => (factor === Infinity ? 'no capacity' : `factor ${factor}`)

/** k at a fixed rule and factor, each k against the smallest. */
function byK(runs: Runs, routings: readonly Routing[]): Family[] {
  return groups(routings, (routing) =>
    routing.factor === Infinity
      ? ['no capacity']
      : rulesOf(routing).map((rule) => `capacity ${rule}, ${factorName(routing.factor)}`),
  ).flatMap(([held, members]) => against(runs, 'k', `Experts a token (${held})`, members, (routing) => routing.k))
}

/** The factor at a fixed k and rule, each against the smallest; no capacity is the largest. */
function byFactor(runs: Runs, routings: readonly Routing[]): Family[] {
  return groups(routings, (routing) =>
    // With one expert a token both rules are one: name it once.
    (routing.activated === 1 ? ['kx'] : rulesOf(routing)).map((rule) => `${familyOf(routing)}, capacity ${rule}`),
  ).flatMap(([held, members]) =>
    against(runs, 'factor', `Capacity factor (${held})`, members, (routing) => routing.factor),
  )
}

/** kx against 1x at a fixed k and factor. */
function byRule(runs: Runs, routings: readonly Routing[]): Family[] {
  const capped = routings.filter(({ activated, factor }) => activated > 1 && factor !== Infinity)
  return groups(capped, (routing) => [`${familyOf(routing)}, ${factorName(routing.factor)}`]).flatMap(
    ([held, members]) =>
      against(runs, 'rule', `Capacity kx against 1x (${held})`, members, ({ capacity }) => (capacity === '1x' ? 0 : 1)),
  )
}

export function groups(
  routings: readonly Routing[],
  keysOf: (routing: Routing) => readonly string[],
): [string, readonly Routing[]][] {
  const found = new Map<string, Routing[]>()
  for (const routing of routings)
    for (const key of keysOf(routing)) found.set(key, [...(found.get(key) ?? []), routing])
  return [...found]
}

/** Members in rows that differ in nothing but `paths`, each in the order given. */
export function alike(runs: Runs, members: readonly Routing[], paths: readonly string[]): Routing[][] {
  const rows: Routing[][] = []
  for (const member of members) {
    const row = rows.find(([first]) => first && differOnlyIn(runs, first.arm, member.arm, paths))
    if (row) row.push(member)
    else rows.push([member])
  }
  return rows
}

/**
 * Members that differ in nothing else are held against the smallest of them, in the order of `size`.
 * Those that do differ (prototypes and plain routing, both with k = 1) are rows of their own.
 */
function against(
  runs: Runs,
  what: Family['what'],
  title: string,
  members: readonly Routing[],
  size: (routing: Routing) => number,
): Family[] {
  const rows = alike(
    runs,
    members.toSorted((a, b) => size(a) - size(b)),
    varied[what],
  )
  return rows.flatMap(([smallest, ...others]) => {
    const larger = others.filter((other) => smallest && size(other) > size(smallest))
    const [first] = larger
    if (smallest === undefined || first === undefined) return []
    const contrasts = larger.map(({ arm }) => ({ baseline: smallest.arm, arm }))
    return [{ title, what, capacity: first.capacity, contrasts }]
  })
}
