/**
 * Published trends as a study: does this program, on this text, reproduce what others have found? A disagreement
 * is first of all a reason to look for a bug.
 */
import { type Settings, type Specification, type SpecificationInput, specificationSchema } from '../specification.ts'
import { dense, moe, topK, unbalanced } from './arms.ts'
import { type StudySize, sizes } from './sizes.ts'

type Claims = NonNullable<NonNullable<SpecificationInput['questions']>[number]['claims']>

const expertsArm = (experts: number) => `${experts} experts`
const factorArm = (k: number, factor: number) => `top-${k} ×${factor}`

/** Capacity factors of ST-MoE's table 18. */
const factors = [0.75, 1, 1.25] as const

export function witnesses(name: StudySize): Specification {
  const size = sizes[name]
  const experts = size.thorough ? [2, 4, 8, 16, 32, 64] : [2, 4, 8, 16, 32]
  const largest = expertsArm(experts.at(-1) as number)
  const own = expertsArm(size.set['model.moe.experts'] as number)
  const arms: Record<string, Settings> = {
    dense: dense(size.hidden),
    'dense ×2': dense(2 * size.hidden),
    ...Object.fromEntries(experts.map((n) => [expertsArm(n), moe({ experts: n })])),
    ...Object.fromEntries(
      [1, 2].flatMap((k) => factors.map((factor) => [factorArm(k, factor), topK(k, 'kx', { factor })])),
    ),
    'top-2 dropless': topK(2, 'none'),
    'balancing 0.1': moe({ 'balance.coefficient': 0.1 }),
    'bias balancing': moe({ router: 'bias', ...unbalanced }),
  }
  const specification: SpecificationInput = {
    title: 'Published trends, tested here',
    base: 'demo',
    set: size.set,
    seeds: [...size.seeds],
    arms,
    // ST-MoE's table evaluates at factor 2.
    capacity: 'eval',
    ...(size.tune && { tune: size.tune }),
    pilot: ['dense', own],
    timings: ['dense', own, 'dense ×2', 'top-2 ×1.25'],
    questions: [
      {
        title: 'Published trends',
        about:
          'Trends of larger studies, each with its published number if there is one. Slopes are per doubling; a claim of no ' +
          'difference has a margin, and holds if the whole interval lies within it.',
        view: 'witness',
        claims: claims(experts, largest, own),
      },
    ],
  }
  return specificationSchema.parse(specification)
}

/** @param own The arm with as many experts as the arms that do not set their number. */
function claims(experts: readonly number[], largest: string, own: string): Claims {
  const list = experts.map(expertsArm)
  const byFactor = (k: number) => factors.map((factor) => factorArm(k, factor))
  return [
    {
      kind: 'trend',
      name: 'More experts help',
      statement: 'Loss falls with the number of experts at fixed active parameters, log-linearly',
      source: 'arXiv 2202.01169',
      arms: list,
      over: 'model.moe.experts',
      expect: 'falls',
      controls: [{ name: 'a dense model of the same active FLOPs', contrast: ['dense', largest] }],
    },
    {
      kind: 'returns',
      name: 'Returns of experts diminish',
      statement: 'Going from 8 to 32 experts helps much, going further helps little',
      source: 'arXiv 2409.02060',
      arms: list.slice(experts.indexOf(8)),
      over: 'model.moe.experts',
      expect: 'diminish',
    },
    {
      kind: 'speed',
      name: 'Sparse is better per FLOP',
      statement: 'A sparse model reaches the loss of a dense one of the same active FLOPs with fewer FLOPs',
      source: 'arXiv 2101.03961',
      contrasts: [['dense', own]],
      measure: 'flops',
      expect: 'better',
    },
    {
      kind: 'speed',
      name: 'Sparse is worse per second',
      statement: 'At small size a sparse model needs more seconds than a dense one for the same loss',
      source: 'nanochat #798',
      contrasts: [['dense', own]],
      measure: 'seconds',
      expect: 'worse',
    },
    {
      kind: 'difference',
      name: 'Balancing methods are alike',
      statement: 'How loads are balanced matters little',
      source: 'arXiv 2605.11689',
      contrasts: [
        [own, 'balancing 0.1'],
        [own, 'bias balancing'],
      ],
      expect: 'equal',
      margin: 0.02,
    },
    {
      kind: 'difference',
      name: 'Dropless is better',
      statement: 'A model without a capacity limit is better',
      source: 'arXiv 2605.11689',
      contrasts: [
        ['top-1 ×1.25', own],
        ['top-2 ×1.25', 'top-2 dropless'],
      ],
      expect: 'better',
    },
    ...[1, 2].map((k) => ({
      kind: 'trend' as const,
      name: `Capacity helps top-${k}`,
      statement: `The loss of top-${k} falls from capacity factor 0.75 to 1.25 in training`,
      source: 'arXiv 2202.08906',
      published: k === 1 ? '−0.031 nats from 0.75 to 1.25' : '−0.033 nats from 0.75 to 1.25',
      arms: byFactor(k),
      over: 'model.moe.factor',
      expect: 'falls' as const,
    })),
    {
      kind: 'difference',
      name: 'Top-2 is better than top-1',
      statement: 'At equal capacity factor top-2 is better than top-1',
      source: 'arXiv 2202.08906',
      published: '−0.004 nats at 1.25',
      contrasts: [['top-1 ×1.25', 'top-2 ×1.25']],
      expect: 'better',
      controls: [{ name: 'a dense model of the FLOPs of top-2', contrast: ['dense ×2', 'top-2 ×1.25'] }],
    },
  ]
}
