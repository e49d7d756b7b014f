/**
 * Small random cases for the witness, each from one seed. Every setting is random, except experts in attention,
 * which the caller requests; then the overrides of the caller apply. The values of a parameter depend only on
 * the seed, its name and its shape, so two cases of one seed that differ in, say, capacity have the same
 * parameters, tokens and targets.
 */
import type { z } from 'zod'
import type { moeSchema } from '../../src/core/model/config/moe-config.ts'
import { type ModelConfig, modelSchema } from '../../src/core/model/config.ts'
import type { Routed, WitnessInput } from './model.ts'
import { hasExperts, isSparse, parameterShapes } from './parameters.ts'

export interface CaseOverrides {
  /** Settings of the model besides `moe`. */
  readonly model?: Omit<z.input<typeof modelSchema>, 'moe'>
  /** Settings of the sparse layers; null for a dense model. */
  readonly moe?: z.input<typeof moeSchema> | null
  /** Number of sequences, B. */
  readonly batch?: number
  readonly training?: boolean
}

/** A random model with its parameters, tokens, targets and, for hash and random routers, choices. */
export function randomCase(seed: number, overrides: CaseOverrides = {}): WitnessInput {
  const shape = new Random(seed, 'shape')
  const batch = overrides.batch ?? shape.integer(2, 4)
  const config = randomConfig(shape, overrides, batch)
  const training = overrides.training ?? shape.pick([true, true, false])

  const parameters = new Map<string, { shape: readonly number[]; data: Float64Array }>()
  for (const [name, sizes] of parameterShapes(config))
    parameters.set(name, { shape: sizes, data: randomParameter(new Random(seed, name), name, sizes) })

  const T = batch * config.sequence
  const text = new Random(seed, 'text')
  const tokens = Int32Array.from({ length: T }, () => text.integer(0, config.vocabulary - 1))
  // A sequence that begins with the same token twice would have the same activations twice: a tie of gates.
  for (let t = 0; t < T; t += config.sequence)
    if (tokens[t + 1] === tokens[t]) tokens[t + 1] = ((tokens[t] as number) + 1) % config.vocabulary
  const targets = Int32Array.from({ length: T }, (_, t) =>
    // The last target is always counted, so that there is at least one.
    text.uniform() < 0.2 && t < T - 1 ? -1 : text.integer(0, config.vocabulary - 1),
  )
  const input = { config, parameters, tokens, targets, batch, training }
  const choices = randomChoices(new Random(seed, 'choices'), config, tokens)
  return choices ? { ...input, choices } : input
}

function randomConfig(random: Random, { model = {}, moe: given }: CaseOverrides, batch: number): ModelConfig {
  const width = model.width ?? random.pick([4, 6, 8])
  const headCounts = divisors(width).filter((heads) => (width / heads) % 2 === 0)
  const layers = model.layers ?? random.integer(1, 3)
  const drawn = {
    vocabulary: random.integer(9, 13),
    layers,
    width,
    heads: random.pick(headCounts),
    sequence: 4,
    positions: random.pick(['rotary', 'learned'] as const),
    rotaryBase: random.pick([100, 10000]),
    norm: random.pick(['rms', 'layer'] as const),
    activation: random.pick(['gelu', 'swiglu'] as const),
    hidden: random.integer(3, 7),
    tied: random.pick([true, false]),
    ...model,
  }
  return modelSchema.parse({ ...drawn, moe: given === null ? null : randomMoe(random, layers, batch, given ?? {}) })
}

const routers = ['top-k', 'switch', 'prototype', 'sinkhorn', 'bias', 'expert-choice', 'hash', 'random'] as const

/** Settings that constrain each other (router, prototypes, experts, k) are drawn to fit the given settings. */
function randomMoe(
  random: Random,
  layers: number,
  batch: number,
  given: z.input<typeof moeSchema>,
): z.input<typeof moeSchema> {
  const router = given.router ?? random.pick(routers)
  const counts = given.experts === undefined ? [1, 2, 3] : divisors(given.experts)
  const prototypes = given.prototypes ?? (router === 'prototype' ? random.pick(counts) : 1)
  const experts = given.experts ?? prototypes * (prototypes === 1 ? random.integer(2, 6) : random.integer(1, 3))
  const k = given.k ?? (router === 'switch' ? 1 : random.integer(1, Math.min(3, experts / prototypes)))
  const learned = router !== 'hash' && router !== 'random'
  const byExperts = router === 'expert-choice'
  const plain = router === 'switch' || byExperts
  const groups = given.groups ?? random.pick([1, 2, 4])
  // `priority: position` needs whole sequences in a group.
  const wholeSequences = batch % groups === 0
  const orders: NonNullable<typeof given.priority>[] = ['choice', 'token', ...(learned ? ['gate' as const] : [])]
  if (wholeSequences) orders.push('position')
  const every = layers > 1 ? random.integer(1, 2) : 1
  const hidden = random.integer(2, 6)
  return {
    every,
    // This setting has no draw of its own, which would change all draws after it.
    from: given.every === undefined && layers > every && hidden % 2 === 0 ? 1 : 0,
    hidden,
    sharedHidden: random.pick([0, 3]),
    softmax: plain || given.scores === 'sigmoid' ? 'before' : random.pick(['before', 'after'] as const),
    renormalize: !plain && random.pick([true, false]),
    capacity: random.pick(byExperts ? (['1x', 'kx'] as const) : (['1x', 'kx', 'none'] as const)),
    factor: random.pick([0.5, 0.75, 1, 1.25]),
    evalFactor: random.pick([0.6, 1, 2]),
    priority: byExperts ? 'position' : random.pick(orders),
    window: random.integer(1, 5),
    groups,
    balance: {
      form: byExperts ? 'switch' : random.pick(['switch', 'gshard'] as const),
      coefficient: random.pick([0, 0.01, 0.5]),
    },
    zLoss: random.pick([0, 0.001, 0.1]),
    ...given,
    router,
    prototypes,
    experts,
    k,
  }
}

/** Norm weights near 1, biases near 0, routers with clear preferences, the rest normal / √inputs. */
function randomParameter(random: Random, name: string, shape: readonly number[]): Float64Array {
  const elements = shape.reduce((product, size) => product * size, 1)
  const inputs = shape.at(-2) ?? 1
  const draw = (): number => {
    if (name.endsWith('.bias')) return 0.1 * random.normal()
    if (/norm$/i.test(name)) return 1 + 0.1 * random.normal()
    if (name.endsWith('.router') || ['embedding', 'positions', 'head'].includes(name)) return random.normal()
    return random.normal() / Math.sqrt(inputs)
  }
  return Float64Array.from({ length: elements }, draw)
}

/** [T·K] distinct experts of every token, for every sparse layer; with `hash` they depend only on the token id. */
function randomChoices(random: Random, config: ModelConfig, tokens: Int32Array): Map<Routed, Int32Array> | undefined {
  const { moe } = config
  if (moe?.router !== 'hash' && moe?.router !== 'random') return undefined
  const ids = Array.from({ length: moe.experts }, (_, i) => i)
  const choices = new Map<Routed, Int32Array>()
  const draw = (routed: Routed) => {
    const table = Array.from({ length: config.vocabulary }, () => random.shuffled(ids).slice(0, moe.k))
    const experts = [...tokens].flatMap((token) =>
      moe.router === 'hash' ? (table[token] ?? []) : random.shuffled(ids).slice(0, moe.k),
    )
    choices.set(routed, Int32Array.from(experts))
  }
  for (let l = 0; l < config.layers; l++) {
    if (!isSparse(config, l)) continue
    draw(l)
    for (const projection of ['qkv', 'output'] as const)
      if (hasExperts(config, l, projection)) draw(`${l}.${projection}`)
  }
  return choices
}

function divisors(n: number): number[] {
  return Array.from({ length: n }, (_, i) => i + 1).filter((d) => n % d === 0)
}

/** A stream of numbers for each seed and purpose: mulberry32, started from an FNV-1a hash of both. */
class Random {
  private state: number

  constructor(seed: number, purpose: string) {
    let hash = 0x811c9dc5
    for (const character of `${seed}/${purpose}`) hash = Math.imul(hash ^ (character.codePointAt(0) ?? 0), 0x01000193)
    this.state = hash >>> 0
  }

  /** Uniform in [0, 1). */
  uniform(): number {
    this.state = (this.state + 0x6d2b79f5) | 0
    let t = Math.imul(this.state ^ (this.state >>> 15), this.state | 1)
    t = (t + Math.imul(t ^ (t >>> 7), t | 61)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }

  /** An integer from low to high, inclusive. */
  integer(low: number, high: number): number {
    return low + Math.floor(this.uniform() * (high - low + 1))
  }

  pick<Item>(items: readonly Item[]): Item {
    const item = items[this.integer(0, items.length - 1)]
    if (item === undefined) throw new Error('internal: nothing to pick from')
    return item
  }

  /** Standard normal, by Box and Muller. */
  normal(): number {
    return Math.sqrt(-2 * Math.log(1 - this.uniform())) * Math.cos(2 * Math.PI * this.uniform())
  }

  shuffled<Item>(items: readonly Item[]): Item[] {
    return items
      .map((item) => ({ item, key: this.uniform() }))
      .sort((a, b) => a.key - b.key)
      .map(({ item }) => item)
  }
}
