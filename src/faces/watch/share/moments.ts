/** Finds the moments of a run, and chooses the few that are shown. */

import { median } from '../../../core/averages.ts'
import { fixed, grouped, joinWords, percent } from '../../../core/text/numbers.ts'
import type { RouterInfo } from '../api.ts'
import {
  DEAD,
  DEVIATIONS,
  DROPS,
  JUMP,
  LASTS,
  MAX_MOMENTS,
  MILESTONES,
  MIN_FALL,
  MIN_RISE,
  MISSED,
  OVERLOAD,
  RECOVERED,
} from './moment-rules.ts'
import { type Moment, momentKinds } from './shared-run.ts'

interface MeasuredRun {
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

export interface RouterSeries {
  /** Index in RoutingIndex.routers. */
  readonly router: number
  readonly info: RouterInfo
  /** Name of the layer, such as `layer 2`. */
  readonly place: string
  /** Steps of the snapshots. */
  readonly steps: readonly number[]
  /** Assignments of an expert at a snapshot, before drops. */
  readonly tokens: (snapshot: number, expert: number) => number
  /** Drop rate at each snapshot. */
  readonly dropRate: readonly (number | null)[]
}

/** Losses by step, in order of steps; NaN where the loss is not finite. */
export interface LossSeries {
  readonly step: ArrayLike<number>
  readonly value: ArrayLike<number>
}

/** A moment with its size among the moments of its kind. */
interface Sized extends Moment {
  readonly size: number
}

/** Indices [from, to); `to` is the length of the series if the state held until the end. */
interface Episode {
  readonly from: number
  readonly to: number
}

/**
 * An episode begins with `LASTS` values in a row for which `begins` holds. It ends before `LASTS` values in a row for
 * which `ends` holds, so that one value between does not cut it in two.
 */
export function episodesOf(
  length: number,
  begins: (at: number) => boolean,
  ends: (at: number) => boolean = (at) => !begins(at),
): Episode[] {
  const found: Episode[] = []
  let from: number | null = null
  let inRow = 0
  for (let at = 0; at < length; at++) {
    inRow = (from === null ? begins(at) : ends(at)) ? inRow + 1 : 0
    if (inRow < LASTS) continue
    const first = at - LASTS + 1
    if (from === null) from = first
    else {
      found.push({ from, to: first })
      from = null
    }
    inRow = 0
  }
  if (from !== null) found.push({ from, to: length })
  return found
}

const none = { kind: 'loss', router: null, experts: [] } as const

export function heldOutMoments({ step, value }: LossSeries): Sized[] {
  const points = Array.from(step, (at, i) => ({ at, loss: value[i] ?? Number.NaN })).filter(({ loss }) =>
    Number.isFinite(loss),
  )
  const [first, last] = [points[0], points.at(-1)]
  if (!first || !last || points.length <= LASTS) return []
  const lowest = points.reduce((low, point) => (point.loss < low.loss ? point : low))
  const fall = first.loss - lowest.loss
  const nats = (loss: number) => fixed(loss, 3)
  const found: Sized[] = []
  if (fall >= MIN_FALL)
    for (const part of MILESTONES) {
      const goal = first.loss - part * fall
      const reached = points.findIndex(
        (_, i) => i > 0 && i + LASTS <= points.length && points.slice(i, i + LASTS).every(({ loss }) => loss <= goal),
      )
      const point = points[reached]
      if (point)
        found.push({
          ...none,
          step: point.at,
          text: `Held-out loss has fallen ${part === 0.5 ? 'half' : percent(part, 0)} of its way`,
          detail: `${nats(point.loss)} nats a token, on the way from ${nats(first.loss)} to ${nats(lowest.loss)}`,
          size: 2 - part,
        })
    }
  const rise = Math.max(MIN_RISE, 0.05 * fall)
  if (points.slice(-LASTS).every(({ loss }) => loss >= lowest.loss + rise))
    found.push({
      ...none,
      step: lowest.at,
      text: 'Held-out loss is at its lowest, and rises from here',
      detail: `${nats(lowest.loss)} nats a token; ${nats(last.loss)} at step ${grouped(last.at)}`,
      size: 3,
    })
  return found
}

export function trainingMoments({ step, value }: LossSeries): Sized[] {
  const finite: number[] = []
  let worst: Sized | undefined
  for (let i = 0; i + LASTS <= value.length; i++) {
    const here = Array.from({ length: LASTS }, (_, j) => value[i + j] ?? Number.NaN)
    const [loss = Number.NaN] = here
    const at = step[i] ?? 0
    if (here.every((each) => !Number.isFinite(each)))
      return [
        { ...none, step: at, text: 'The training loss is not finite', detail: `from step ${grouped(at)} on`, size: 5 },
      ]
    const before = finite.slice(-JUMP.records)
    if (before.length >= JUMP.records) {
      const usual = median(before)
      const deviation = median(before.map((each) => Math.abs(each - usual)))
      const jump = Math.min(...here) - usual
      if (jump >= Math.max(JUMP.nats, JUMP.deviations * deviation) && jump > (worst?.size ?? 0))
        worst = {
          ...none,
          step: at,
          text: `The training loss jumps to ${fixed(loss, 2)}`,
          detail: `nats a token; the median of the ${JUMP.records} records before is ${fixed(usual, 2)}`,
          size: jump,
        }
    }
    if (Number.isFinite(loss)) finite.push(loss)
  }
  return worst ? [{ ...worst, size: 4 }] : []
}

/** The largest moment of this kind in a router; empty if there is none. */
export function dropMoments({ router, place, steps, dropRate }: RouterSeries): Sized[] {
  const known = dropRate.filter((rate) => rate !== null)
  const usual = median(known)
  const limit = Math.max(DROPS.least, DROPS.overMedian * usual)
  const rate = (t: number) => dropRate[t] ?? 0
  const found = episodesOf(steps.length, (t) => rate(t) >= limit).map(({ from, to }): Sized => {
    let peak = from
    for (let t = from; t < to; t++) if (rate(t) > rate(peak)) peak = t
    const end = to < steps.length ? `until step ${grouped(steps[to] ?? 0)}` : 'until the end'
    return {
      kind: 'drops',
      step: steps[from] ?? 0,
      router,
      experts: [],
      text: `${place[0]?.toUpperCase()}${place.slice(1)} drops ${percent(rate(peak), 0)} of its choices`,
      detail: `at step ${grouped(steps[peak] ?? 0)}; its median is ${percent(usual, 0)}; high ${end}`,
      size: rate(peak) - usual,
    }
  })
  return found.sort((a, b) => b.size - a.size).slice(0, 1)
}

/** An episode of one expert. */
interface Found {
  readonly kind: 'overload' | 'death' | 'recovery'
  readonly expert: number
  readonly episode: Episode
  readonly size: number
  /** Whether it gets no token at all, in a death. */
  readonly isWithoutAny: boolean
  readonly detail: string
}

/** @returns for each expert at most the largest overload, and the longest death with its recovery */
export function expertMoments(series: RouterSeries): Sized[] {
  const means = series.steps.map((_, t) => meanOf(series, t))
  const found: Found[] = []
  for (let expert = 0; expert < series.info.experts; expert++) {
    // A router without any token has no share to compare with.
    const share = (t: number) => ((means[t] ?? 0) > 0 ? series.tokens(t, expert) / (means[t] as number) : 1)
    const one = { expert, share, means, steps: series.steps }
    const death = largest(deaths(one))
    found.push(...largest(overloads(one)), ...death, ...death.flatMap((each) => recovery(each, one)))
  }
  return groupsOf(found).flatMap((group) => momentOf(group, series))
}

function meanOf({ info, tokens }: RouterSeries, snapshot: number): number {
  let sum = 0
  for (let expert = 0; expert < info.experts; expert++) sum += tokens(snapshot, expert)
  return sum / info.experts
}

const largest = (found: readonly Found[]): readonly Found[] => [...found].sort((a, b) => b.size - a.size).slice(0, 1)

interface OneExpert {
  readonly expert: number
  /** Tokens over the mean of the router at a snapshot. */
  readonly share: (snapshot: number) => number
  readonly means: readonly number[]
  readonly steps: readonly number[]
}

function overloads({ expert, share, means, steps }: OneExpert): Found[] {
  // A count at random has its mean as its variance.
  const isFar = (t: number) => (share(t) - 1) * Math.sqrt(means[t] ?? 0) >= DEVIATIONS
  const found = episodesOf(
    steps.length,
    (t) => share(t) >= OVERLOAD.from && isFar(t),
    (t) => share(t) < OVERLOAD.below,
  )
  return found.map((episode) => {
    const peak = largestAt(episode, share)
    const most = share(peak)
    const detail = `up to ${fixed(most, 1)} times, at step ${grouped(steps[peak] ?? 0)}, and ${untilText(episode, steps)}`
    return { kind: 'overload', expert, episode, size: most, isWithoutAny: false, detail }
  })
}

function deaths({ expert, share, means, steps }: OneExpert): Found[] {
  return episodesOf(steps.length, (t) => share(t) <= DEAD).flatMap((episode): Found[] => {
    const { from, to } = episode
    let [missed, got] = [0, 0]
    for (let t = from; t < to; t++) {
      missed += means[t] ?? 0
      got += share(t) * (means[t] ?? 0)
    }
    // A snapshot with tokens between does not end an episode, but its tokens count.
    if (missed < MISSED || got > DEAD * missed) return []
    const inAll = got / missed
    // A death for good is larger than every death that ends.
    const size = (to - from) / steps.length + (to === steps.length ? 1 : 0)
    const detail = `${inAll === 0 ? '' : `${inAll < 0.001 ? 'less than 0.1 %' : percent(inAll)} of its share, `}${untilText(episode, steps)}`
    return [{ kind: 'death', expert, episode, size, isWithoutAny: got === 0, detail }]
  })
}

function recovery(death: Found, { expert, share, steps }: OneExpert): Found[] {
  const { from, to } = death.episode
  const [episode] = episodesOf(steps.length, (t) => t >= to && share(t) >= RECOVERED)
  if (!episode) return []
  const before = `${death.isWithoutAny ? 'none' : 'almost none'} from step ${grouped(steps[from] ?? 0)} to ${grouped(steps[to - 1] ?? 0)}`
  const detail = `half its fair share or more, after ${before}`
  return [{ kind: 'recovery', expert, episode, size: death.size, isWithoutAny: false, detail }]
}

function largestAt({ from, to }: Episode, share: (t: number) => number): number {
  let at = from
  for (let t = from; t < to; t++) if (share(t) > share(at)) at = t
  return at
}

const untilText = ({ to }: Episode, steps: readonly number[]): string =>
  to < steps.length ? `until step ${grouped(steps[to] ?? 0)}` : 'until the end'

/**
 * Groups what happens to several experts of the router at about the same time: each begins less than {@link LASTS}
 * snapshots after the first, so that the state that begins an episode holds for all of them when the last one begins.
 */
function groupsOf(found: readonly Found[]): Found[][] {
  const groups: Found[][] = []
  for (const each of [...found].sort((a, b) => a.episode.from - b.episode.from)) {
    const near = groups.find(
      (group) => group[0]?.kind === each.kind && each.episode.from - group[0].episode.from < LASTS,
    )
    if (near) near.push(each)
    else groups.push([each])
  }
  return groups
}

/** The moment at which all of a group have begun. */
function momentOf(group: readonly Found[], { router, place, steps }: RouterSeries): Sized[] {
  const [first] = group
  if (!first) return []
  const experts = group.map(({ expert }) => expert).sort((a, b) => a - b)
  const isOne = experts.length === 1
  const from = Math.max(...group.map(({ episode }) => episode.from))
  return [
    {
      kind: first.kind,
      step: steps[from] ?? 0,
      router,
      experts,
      text: `${isOne ? 'Expert' : 'Experts'} ${namesOf(experts)} of ${place} ${verbOf(group, steps.length)}`,
      detail: detailOf(group, steps),
      size: Math.max(...group.map(({ size }) => size)) * experts.length,
    },
  ]
}

/** The details of each expert of a small group, and the end of the last episode of a larger one. */
function detailOf(group: readonly Found[], steps: readonly number[]): string {
  const [first] = group
  if (group.length === 1) return first?.detail ?? ''
  if (group.length <= MAX_DETAILS) return group.map(({ expert, detail }) => `${expert}: ${detail}`).join('; ')
  const ends = group.map(({ episode }) => episode.to)
  const end = untilText({ from: 0, to: Math.max(...ends) }, steps)
  return Math.min(...ends) === Math.max(...ends) ? `all ${end}` : `the last of them ${end}`
}

function verbOf(group: readonly Found[], snapshots: number): string {
  const isOne = group.length === 1
  const kind = group[0]?.kind
  if (kind === 'overload') return isOne ? 'takes twice its share' : 'take twice their share'
  if (kind === 'recovery') return isOne ? 'recovers' : 'recover'
  const none = group.every(({ isWithoutAny }) => isWithoutAny) ? 'no tokens' : 'almost no tokens'
  const isForGood = group.every(({ episode }) => episode.to === snapshots)
  const isAlways = isForGood && group.every(({ episode }) => episode.from === 0)
  return `${isOne ? 'gets' : 'get'} ${none}${isAlways ? ' at any snapshot' : isForGood ? ' any more' : ''}`
}

/** Experts that a text names, and experts whose details it has. */
const [MAX_NAMES, MAX_DETAILS] = [6, 3]

function namesOf(experts: readonly number[]): string {
  const shown = experts.length > MAX_NAMES ? experts.slice(0, MAX_NAMES - 1) : experts
  const more = experts.length - shown.length
  return joinWords([...shown.map(String), ...(more > 0 ? [`${more} more`] : [])])
}
