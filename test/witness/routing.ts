/**
 * Routing: which experts does a token go to, with which gate, and is there room?
 *
 * Think of one *assignment* at a time: a token requests a seat at an expert. First every token makes its
 * choices (`chooseTopK`, prototype by prototype); then, in every group of tokens, each expert serves its
 * queue in order of priority until its capacity is used up (`serve`). Other assignments are dropped.
 */
import type { MoeConfig } from '../../src/core/model/config/moe-config.ts'
import type { CapacityRule } from '../../src/core/model/routing/contract.ts'
import { at, logSumExp, type Matrix, project, rowOf, sigmoid, softmax, sum, type Vector } from './arithmetic.ts'

/** A choice of a token. */
export interface Assignment {
  readonly token: number
  /** 0 for the first choice within the prototype. */
  readonly choice: number
  /** Index of the expert, 0 to N−1. */
  readonly expert: number
  readonly gate: number
  kept: boolean
}

export interface Routing {
  /** Token by token, prototype by prototype, choice by choice. */
  readonly assignments: readonly Assignment[]
  /** [T][Z][N/Z] router logits; null for the hash and random routers. */
  readonly logits: readonly Matrix[] | null
  readonly prototypes: number
  /** Seats of an expert in one group; null = no limit. */
  readonly capacity: number | null
}

type ChoiceSettings = Pick<MoeConfig, 'k' | 'softmax' | 'renormalize'> &
  Partial<Pick<MoeConfig, 'scores' | 'expertGroups' | 'groupsPerToken' | 'groupScore' | 'routedScale'>>

/**
 * The k experts of one token within one prototype, best first; equal scores go to the lower id.
 * @param logits logits of the prototype's experts
 * @param preference numbers that rank the experts instead of their scores
 * @param bias numbers that are added to the scores or the preference for ranking
 * @param given experts in place of the best ones, as in a replay; a negative number leaves the choice
 */
export function chooseTopK(
  logits: Vector,
  settings: ChoiceSettings,
  { preference, bias, given }: { preference?: Vector; bias?: Vector; given?: Vector } = {},
): { expert: number; gate: number }[] {
  const { scores: kind = 'softmax', routedScale = 1 } = settings
  const affinities = kind === 'sigmoid' ? logits.map(sigmoid) : softmax(logits)
  const scores = settings.softmax === 'before' ? affinities : logits
  const ranked = (preference ?? scores).map((value, i) => value + (bias ? at(bias, i) : 0))
  const allowed = expertsOfBestGroups(ranked, settings)
  const ranking = allowed.sort((a, b) => at(ranked, b) - at(ranked, a) || a - b)
  const chosen = ranking.slice(0, settings.k).map((own, j) => {
    const expert = given ? at(given, j) : -1
    return expert >= 0 ? expert : own
  })
  const chosenScores = chosen.map((i) => at(scores, i))
  let gates = settings.softmax === 'before' ? chosenScores : softmax(chosenScores)
  if (settings.renormalize) {
    const total = sum(gates)
    gates = gates.map((gate) => gate / total)
  }
  return chosen.map((expert, j) => ({ expert, gate: routedScale * at(gates, j) }))
}

/**
 * Experts that a token may choose, which are in its best groups. A group's value is the value of its best expert
 * (DeepSeek-V2, section 2.1.3) or the sum of its two best (DeepSeek-V3, section 2.1.2); among equal groups, the first
 * comes first.
 */
function expertsOfBestGroups(
  ranked: Vector,
  { expertGroups = 1, groupsPerToken = 1, groupScore = 'max' }: ChoiceSettings,
): number[] {
  const size = ranked.length / expertGroups
  const groups = Array.from({ length: expertGroups }, (_, g) => {
    const experts = Array.from({ length: size }, (_, i) => g * size + i)
    const values = experts.map((e) => at(ranked, e)).sort((a, b) => b - a)
    return { experts, value: groupScore === 'max' ? at(values, 0) : at(values, 0) + at(values, 1) }
  })
  // Sorting is stable, so equal groups stay in order.
  const best = groups.sort((a, b) => b.value - a.value).slice(0, groupsPerToken)
  return best.flatMap(({ experts }) => experts)
}

/**
 * ln of exp(logits) of one group after scaling rows and columns in turn: every row to the sum 1/T, then every
 * column to 1/N, `iterations` times (Sinkhorn and Knopp 1967; the order is Megatron-LM's).
 */
export function sinkhorn(logits_TN: Matrix, iterations: number): number[][] {
  const T = logits_TN.length
  const N = rowOf(logits_TN, 0).length
  let scaled = logits_TN.map((row) => [...row])
  for (let iteration = 0; iteration < iterations; iteration++) {
    scaled = scaled.map((row) => row.map((value) => value - logSumExp(row) - Math.log(T)))
    const totals = Array.from({ length: N }, (_, e) => logSumExp(scaled.map((row) => at(row, e))))
    scaled = scaled.map((row) => row.map((value, e) => value - at(totals, e) - Math.log(N)))
  }
  return scaled
}

/** Expert choice: each expert takes the group's tokens with the largest gates; among equal gates, the earlier token. */
function takeTokens(logits_TN: Matrix, first: number, capacity: number, scale: number): Assignment[] {
  const gates_TN = logits_TN.map((logits) => softmax(logits).map((gate) => scale * gate))
  return rowOf(gates_TN, 0).flatMap((_, expert) => {
    const gate = (token: number) => at(rowOf(gates_TN, token), expert)
    const ranking = gates_TN.map((_, token) => token).sort((a, b) => gate(b) - gate(a) || a - b)
    return ranking
      .slice(0, capacity)
      .map((token) => ({ token: first + token, choice: 0, expert, gate: gate(token), kept: true }))
  })
}

/** The update of the bias router after a step: up for experts below the mean load, down for experts above it. */
export function updatedBias(bias: Vector, loads: Vector, rate: number): number[] {
  const mean = sum(loads) / loads.length
  return bias.map((value, e) => (at(loads, e) < mean ? value + rate : at(loads, e) > mean ? value - rate : value))
}

/**
 * Seats of an expert in one group of tokens; null = no limit.
 *
 * kx: ceil(k·T/N·γ); 1x: ceil(T/N·γ) (M6-T, section 3). The 1e-9 prevents that a product such as 100/2·1.1,
 * which is 55.00000000000001 in floating point, is rounded up to another seat.
 * @param tokens number of tokens in the group
 * @param activated number of experts of a token over all prototypes, Z·k'
 */
export function capacityOf(moe: MoeConfig, tokens: number, activated: number, rule: CapacityRule): number | null {
  if (moe.capacity === 'none' || rule === 'none') return null
  const factor = rule === 'train' ? moe.factor : moe.evalFactor
  const balanced = moe.capacity === 'kx' ? (activated * tokens) / moe.experts : tokens / moe.experts
  return Math.min(tokens, Math.max(1, Math.ceil(balanced * factor - 1e-9)))
}

/** Comparators of the queue of an expert, for the priorities under which a group is one queue. */
const orders: Record<Exclude<MoeConfig['priority'], 'position'>, (a: Assignment, b: Assignment) => number> = {
  choice: (a, b) => a.choice - b.choice || a.token - b.token,
  token: (a, b) => a.token - b.token || a.choice - b.choice,
  gate: (a, b) => b.gate - a.gate || a.token - b.token || a.choice - b.choice,
}

/** Marks as kept the first `capacity` assignments of every expert's queue, for the assignments of one group. */
export function serve(
  assignments: readonly Assignment[],
  experts: number,
  capacity: number | null,
  priority: Exclude<MoeConfig['priority'], 'position'>,
): void {
  for (let expert = 0; expert < experts; expert++) {
    const queue = assignments.filter((assignment) => assignment.expert === expert).sort(orders[priority])
    for (const [position, assignment] of queue.entries()) assignment.kept = capacity === null || position < capacity
  }
}

/**
 * Marks as kept the assignments that the experts serve by position, for one group of whole sequences: one expert at
 * a time, position by position, with a bucket of seats for each rank. At each position the first bucket gets the
 * seats that the expert earns; every other bucket gets the overflow of the previous one from the position before.
 * @param first the first token of the group
 */
export function serveByPosition(
  assignments: readonly Assignment[],
  moe: Pick<MoeConfig, 'experts' | 'window'>,
  capacity: number,
  { first, sequences, sequence }: { first: number; sequences: number; sequence: number },
): void {
  const { experts } = moe
  const ranked = ranksOf(assignments)
  const K = Math.max(...ranked.values()) + 1
  // With an even load, an expert gets this many choices of each rank at a position.
  const even = sequences / experts
  const evenLoad = Math.floor(Math.min(moe.window, sequence) * even + 1e-9)
  const maxSaved = Math.max(1, evenLoad)
  const ranksOfEvenLoad = Math.floor(capacity / (sequence * even) + 1e-9)
  const start = Array.from({ length: K }, (_, rank) => (rank < ranksOfEvenLoad ? evenLoad : 0))
  if (ranksOfEvenLoad >= K) start[K - 1] = Math.floor(evenLoad / 2)
  const rate = (capacity - sum(start)) / sequence

  for (let expert = 0; expert < experts; expert++) {
    const earnedBefore = (s: number) => Math.floor(rate * s + expert / experts + 1e-9)
    const bucket = [...start]
    let overflow: number[] = Array.from({ length: K }, () => 0)
    for (let s = 0; s < sequence; s++) {
      bucket.forEach((seats, rank) => {
        bucket[rank] = seats + (rank === 0 ? earnedBefore(s + 1) - earnedBefore(s) : at(overflow, rank - 1))
      })
      for (let place = 0; place < sequences; place++) {
        const b = (((place - s - Math.floor(s / sequences)) % sequences) + sequences) % sequences
        for (const assignment of assignments) {
          if (assignment.expert !== expert || assignment.token !== first + b * sequence + s) continue
          const rank = ranked.get(assignment) as number
          assignment.kept = at(bucket, rank) > 0
          if (assignment.kept) bucket[rank] = at(bucket, rank) - 1
        }
      }
      overflow = bucket.map((seats) => Math.max(0, seats - maxSaved))
      bucket.forEach((seats, rank) => {
        bucket[rank] = Math.min(seats, maxSaved)
      })
    }
  }
}

/**
 * The rank of each assignment among the assignments of its token: in the router's order, or by gate if there are
 * several prototypes, which show as repeated choice numbers.
 */
function ranksOf(assignments: readonly Assignment[]): Map<Assignment, number> {
  const ranks = new Map<Assignment, number>()
  for (const token of new Set(assignments.map((assignment) => assignment.token))) {
    const own = assignments.filter((assignment) => assignment.token === token)
    const several = new Set(own.map(({ choice }) => choice)).size < own.length
    // Sorting is stable, so among equal gates the earlier choice stays first.
    const order = several ? [...own].sort((a, b) => b.gate - a.gate) : own
    for (const [rank, assignment] of order.entries()) ranks.set(assignment, rank)
  }
  return ranks
}

/**
 * Routes all tokens: their choices, gates, and which assignments are kept.
 * @param x_TD normed activations
 * @param router weights [D, N]; null for the hash and random routers
 * @param choices [T·K] expert ids for the hash and random routers; for others those of a replay
 * @param bias biases [N] of the bias router
 * @param sequence number of tokens of a sequence
 */
export function route(
  x_TD: Matrix,
  router: Matrix | null,
  choices: Int32Array | undefined,
  moe: MoeConfig,
  training: boolean,
  bias?: Vector,
  rule: CapacityRule = training ? 'train' : 'eval',
  sequence = x_TD.length / moe.groups,
): Routing {
  const T = x_TD.length
  if (T % moe.groups !== 0) throw new Error(`invalid groups: ${moe.groups} (expected a divisor of ${T} tokens)`)
  const groupSize = T / moe.groups
  const Z = moe.router === 'prototype' ? moe.prototypes : 1
  const prototypeSize = moe.experts / Z
  const capacity = capacityOf(moe, groupSize, Z * moe.k, rule)
  const assignments: Assignment[] = []
  let logits: number[][][] | null = null

  if (router && moe.router === 'expert-choice') {
    const logits_TN = x_TD.map((x) => project(x, router))
    for (let first = 0; first < T; first += groupSize)
      assignments.push(
        ...takeTokens(logits_TN.slice(first, first + groupSize), first, capacity ?? groupSize, moe.routedScale),
      )
    return { assignments, logits: logits_TN.map((row) => [row]), prototypes: 1, capacity }
  }

  if (router) {
    logits = []
    const preferences: number[][] = []
    if (moe.router === 'sinkhorn' && training)
      for (let first = 0; first < T; first += groupSize) {
        const group = x_TD.slice(first, first + groupSize)
        preferences.push(
          ...sinkhorn(
            group.map((x) => project(x, router)),
            moe.sinkhornIterations,
          ),
        )
      }
    for (let token = 0; token < T; token++) {
      const logits_N = project(rowOf(x_TD, token), router)
      const logits_Z: number[][] = []
      for (let z = 0; z < Z; z++) {
        const own = logits_N.slice(z * prototypeSize, (z + 1) * prototypeSize)
        logits_Z.push(own)
        const preference = preferences[token]
        const from = (token * Z + z) * moe.k
        const given = choices && [...choices.subarray(from, from + moe.k)].map((expert) => expert - z * prototypeSize)
        const by = { ...(preference && { preference }), ...(bias && { bias }), ...(given && { given }) }
        for (const [choice, { expert, gate }] of chooseTopK(own, moe, by).entries())
          assignments.push({ token, choice, expert: z * prototypeSize + expert, gate, kept: false })
      }
      logits.push(logits_Z)
    }
  } else {
    if (choices?.length !== T * moe.k)
      throw new Error(
        `invalid choices: ${choices?.length ?? 'none'} (expected ${T * moe.k} ids for router "${moe.router}")`,
      )
    for (let token = 0; token < T; token++)
      for (let choice = 0; choice < moe.k; choice++) {
        const expert = at(choices, token * moe.k + choice)
        if (!(expert >= 0 && expert < moe.experts))
          throw new Error(`invalid expert id: ${expert} (expected 0 to ${moe.experts - 1})`)
        assignments.push({ token, choice, expert, gate: moe.routedScale / moe.k, kept: false })
      }
  }

  for (let g = 0; g < moe.groups; g++) {
    const own = assignments.filter(({ token }) => Math.floor(token / groupSize) === g)
    const group = { first: g * groupSize, sequences: groupSize / sequence, sequence }
    if (moe.priority !== 'position') serve(own, moe.experts, capacity, moe.priority)
    else if (capacity !== null && capacity < groupSize) serveByPosition(own, moe, capacity, group)
    else for (const assignment of own) assignment.kept = true
  }
  return { assignments, logits, prototypes: Z, capacity }
}
