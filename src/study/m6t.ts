/**
 * The questions of M6-T as a study: load imbalance, k and capacity, prototyping, MoE attention, scale,
 * convergence. The two presets ask the same, of models and budgets of two sizes.
 *
 * Unless an arm says otherwise: top-1 with capacity factor 1.25 and the Switch balancing loss with
 * coefficient 0.01, in every layer. `1x` and `kx` are the capacity rules of M6-T. Learning rates were chosen
 * for top-1, at each size among factors of about two.
 */
import type { Settings } from './contract.ts'
import { type Specification, type SpecificationInput, specificationSchema } from './specification.ts'

interface Size {
  readonly title: string
  readonly seeds: readonly number[]
  /** Of all arms; `scale` are the other sizes. */
  readonly set: Settings
  readonly smaller: Settings
  readonly larger: Settings
  /** Capacity factors beside 1.25, and the k's of which every combination is trained. */
  readonly factors: readonly number[]
  /** Every coefficient, router and projection, or only those that answer the question. */
  readonly thorough: boolean
}

const sizes = {
  quick: {
    title: 'What makes sparse experts work: the questions of M6-T, in short',
    seeds: [1, 2, 3],
    set: {
      'model.vocabulary': 1024,
      'model.layers': 2,
      'model.width': 64,
      'model.heads': 2,
      'model.sequence': 64,
      'model.hidden': 128,
      'model.moe.experts': 8,
      'model.moe.hidden': 128,
      'train.steps': 300,
      'train.batch': 16,
      'train.evalEvery': 20,
      'train.evalBatches': 8,
      'train.schedule.learningRate': 1e-2,
      'train.schedule.warmup': 20,
    },
    smaller: { 'model.width': 32, 'model.moe.hidden': 64, 'train.schedule.learningRate': 2e-2 },
    larger: {
      'model.width': 96,
      'model.layers': 3,
      'model.moe.hidden': 192,
      'train.schedule.learningRate': 8e-3,
    },
    factors: [0.75],
    thorough: false,
  },
  standard: {
    title: 'What makes sparse experts work: the questions of M6-T',
    seeds: [1, 2, 3, 4, 5],
    set: {
      'model.vocabulary': 2048,
      'model.layers': 4,
      'model.width': 128,
      'model.heads': 4,
      'model.sequence': 128,
      'model.hidden': 256,
      'model.moe.experts': 16,
      'model.moe.hidden': 256,
      'train.steps': 800,
      'train.batch': 8,
      'train.evalEvery': 40,
      'train.evalBatches': 8,
      'train.schedule.learningRate': 4e-3,
      'train.schedule.warmup': 40,
    },
    smaller: {
      'model.width': 64,
      'model.layers': 2,
      'model.heads': 2,
      'model.moe.hidden': 128,
      'train.schedule.learningRate': 8e-3,
    },
    larger: {
      'model.width': 192,
      'model.layers': 6,
      'model.heads': 6,
      'model.moe.hidden': 384,
      'train.schedule.learningRate': 2.5e-3,
    },
    factors: [0.75, 1, 2],
    thorough: true,
  },
} as const satisfies Record<string, Size>

export type M6tPreset = keyof typeof sizes
export const m6tPresets = Object.keys(sizes) as readonly M6tPreset[]

/** What the presets are, for help texts. */
export const m6tDescriptions: Readonly<Record<M6tPreset, string>> = {
  quick: 'a small model and few arms, about a quarter of an hour on two cores',
  standard: 'a larger model, every arm and five seeds, over night',
}

const moe = (settings: Settings): Settings =>
  Object.fromEntries(Object.entries(settings).map(([field, value]) => [`model.moe.${field}`, value]))

const topK = (k: number, capacity: 'kx' | '1x' | 'none', more: Settings = {}): Settings =>
  moe({ router: 'top-k', k, capacity, ...more })

const prototypes = (z: number, k: number, capacity: 'kx' | '1x', more: Settings = {}): Settings =>
  moe({ router: 'prototype', prototypes: z, k, capacity, ...more })

const unbalanced = { 'balance.coefficient': 0 }

export function m6t(preset: M6tPreset): Specification {
  const size: Size = sizes[preset]
  const imbalance = imbalanceArms(size)
  const capacity = capacityArms(size)
  const attention = attentionArms(size)
  const scaled = scaleArms(size)
  const specification: SpecificationInput = {
    title: size.title,
    base: 'demo',
    set: { ...topK(1, 'kx', { factor: 1.25, prototypes: 1 }), ...size.set },
    seeds: [...size.seeds],
    arms: {
      'top-1': {},
      ...imbalance,
      ...capacity,
      ...prototypeArms,
      ...(size.thorough && renormalizedArms),
      ...attention,
      ...scaled,
    },
    elsewhere: ['moby-dick'],
    timings: ['top-1', 'top-2 1x', 'top-2 kx', 'top-4 1x', 'top-4 kx', ...Object.keys(prototypeArms)],
    timedOnly: {
      'top-2 1x, k arg-max passes': topK(2, '1x', { selection: 'sequential' }),
      'top-4 1x, k arg-max passes': topK(4, '1x', { selection: 'sequential' }),
    },
    specialise: ['top-1', 'top-2 1x', '2 top-1 1x', '4 top-1 1x'],
    questions: [
      {
        title: 'Load imbalance',
        about:
          'Does it matter for quality how evenly tokens are spread over the experts? The balancing loss is turned off, ' +
          'weakened, strengthened or replaced, and quality is set against c_v, the standard deviation of the load over its mean.',
        view: 'imbalance',
        contrasts: [
          ...Object.keys(imbalance)
            .filter((arm) => !arm.includes('dropless'))
            .map((arm): [string, string] => ['top-1', arm]),
          ['top-1 dropless', 'top-1 dropless, no balancing'],
        ],
      },
      {
        title: 'k and capacity',
        about:
          'Top-1, 2 and 4, with capacity for one choice a token (1x), for all k (kx) or for any number (dropless), ' +
          'and several capacity factors. Evaluation always has factor 2.',
        view: 'capacity',
        baseline: 'top-1',
        arms: Object.keys(capacity),
      },
      {
        title: 'Prototyping',
        about:
          'k top-1: experts in Z groups, each with a router of its own, and every token takes the best of each. ' +
          'Against top-1, and against plain top-k that activates equally many experts, at equal capacity.',
        view: 'prototypes',
        contrasts: [
          ['top-1', '2 top-1 1x'],
          ['top-1', '4 top-1 1x'],
          ['top-2 1x', '2 top-1 1x'],
          ['top-4 1x', '4 top-1 1x'],
          ['top-2 kx', '2 top-1 kx'],
          ['top-4 kx', '4 top-1 kx'],
          ['top-4 1x', '2 top-2 1x'],
          ['4 top-1 1x', '4 top-1 1x, by gate'],
          ...(size.thorough
            ? ([
                ['top-2 1x, gates sum to 1', '2 top-1 1x'],
                ['top-4 1x, gates sum to 1', '4 top-1 1x'],
              ] as [string, string][])
            : []),
        ],
      },
      {
        title: 'MoE attention',
        about:
          'Experts in the projections of attention too: those of queries, keys and values, or all four; ' +
          'with plain top-1 and with prototypes.',
        view: 'attention',
        contrasts: [
          ...Object.keys(attention)
            .filter((arm) => arm.startsWith('top-1'))
            .map((arm): [string, string] => ['top-1', arm]),
          ['2 top-1 1x', '2 top-1 1x, attention all'],
          ['top-1, attention all', '2 top-1 1x, attention all'],
          ...(size.thorough
            ? ([
                ['4 top-1 1x', '4 top-1 1x, attention all'],
                ['top-1, attention all', '4 top-1 1x, attention all'],
              ] as [string, string][])
            : []),
        ],
      },
      {
        title: 'Scale',
        about: 'The gain of prototyping over top-1 at three model sizes, each trained on the same tokens.',
        view: 'scale',
        contrasts: ['small, ', '', 'large, '].flatMap((prefix) =>
          (size.thorough ? ['2 top-1 1x', '4 top-1 1x'] : ['2 top-1 1x']).map((arm): [string, string] => [
            `${prefix}top-1`,
            `${prefix}${arm}`,
          ]),
        ),
      },
      {
        title: 'Convergence',
        about:
          'How much sooner an arm is where its baseline ends: steps and seconds until its held-out loss is that of the baseline at the end.',
        view: 'convergence',
        baseline: 'top-1',
        arms: ['2 top-1 1x', '4 top-1 1x', 'top-2 1x', 'top-2 kx'],
      },
    ],
  }
  return specificationSchema.parse(specification)
}

function imbalanceArms({ thorough }: Size): Record<string, Settings> {
  const balanced = (coefficient: number) => moe({ 'balance.coefficient': coefficient })
  return {
    'no balancing': moe(unbalanced),
    ...(thorough && { 'balancing 0.001': balanced(0.001) }),
    'balancing 0.1': balanced(0.1),
    ...(thorough && { 'balancing 1': balanced(1) }),
    'bias balancing': moe({ router: 'bias', ...unbalanced }),
    ...(thorough && { sinkhorn: moe({ router: 'sinkhorn', ...unbalanced }) }),
    ...(thorough && { 'expert choice (sees later tokens)': moe({ router: 'expert-choice', ...unbalanced }) }),
    'random routing': moe({ router: 'random' }),
    ...(thorough && { 'hash routing': moe({ router: 'hash' }) }),
    'top-1 dropless, no balancing': topK(1, 'none', unbalanced),
  }
}

function capacityArms({ factors, thorough }: Size): Record<string, Settings> {
  const arms: Record<string, Settings> = {}
  for (const factor of factors) arms[`top-1 ×${factor}`] = topK(1, 'kx', { factor })
  arms['top-1 dropless'] = topK(1, 'none')
  for (const k of [2, 4]) {
    for (const rule of ['1x', 'kx'] as const) {
      arms[`top-${k} ${rule}`] = topK(k, rule)
      if (thorough || k === 2)
        for (const factor of factors) arms[`top-${k} ${rule} ×${factor}`] = topK(k, rule, { factor })
    }
    arms[`top-${k} dropless`] = topK(k, 'none')
  }
  return arms
}

const prototypeArms: Readonly<Record<string, Settings>> = {
  '2 top-1 1x': prototypes(2, 1, '1x'),
  '4 top-1 1x': prototypes(4, 1, '1x'),
  '2 top-2 1x': prototypes(2, 2, '1x'),
  '2 top-1 kx': prototypes(2, 1, 'kx'),
  '4 top-1 kx': prototypes(4, 1, 'kx'),
  // With capacity 1x most choices of four prototypes are dropped: of whom, is for priority to say.
  '4 top-1 1x, by gate': prototypes(4, 1, '1x', { priority: 'gate' }),
}

/** Gates of a softmax over few experts are larger: with gates that sum to 1, top-k has the same advantage. */
const renormalizedArms: Readonly<Record<string, Settings>> = {
  'top-2 1x, gates sum to 1': topK(2, '1x', { renormalize: true }),
  'top-4 1x, gates sum to 1': topK(4, '1x', { renormalize: true }),
}

function attentionArms({ thorough }: Size): Record<string, Settings> {
  const all = { attention: 'all' }
  return {
    'top-1, attention qkv': moe({ attention: 'qkv' }),
    'top-1, attention all': moe(all),
    '2 top-1 1x, attention all': prototypes(2, 1, '1x', all),
    ...(thorough && { '4 top-1 1x, attention all': prototypes(4, 1, '1x', all) }),
  }
}

function scaleArms({ smaller, larger, thorough }: Size): Record<string, Settings> {
  const arms: Record<string, Settings> = {}
  for (const [name, shape] of [
    ['small', smaller],
    ['large', larger],
  ] as const) {
    arms[`${name}, top-1`] = shape
    arms[`${name}, 2 top-1 1x`] = { ...shape, ...prototypes(2, 1, '1x') }
    if (thorough) arms[`${name}, 4 top-1 1x`] = { ...shape, ...prototypes(4, 1, '1x') }
  }
  return arms
}
