/** Moments of the experts of one router: overloads, deaths and recoveries. */
import { fixed, grouped, joinWords, percent } from '../../../../core/text/numbers.ts'
import { type Episode, episodesOf } from './episodes.ts'
import { DEAD, DEVIATIONS, LASTS, MISSED, OVERLOAD, RECOVERED } from './rules.ts'
import type { RouterSeries, Sized } from './series.ts'

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
