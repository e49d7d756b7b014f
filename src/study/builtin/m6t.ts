/**
 * The questions of M6-T as a study: whether routing helps at all, load imbalance, k and capacity, prototyping,
 * scale, convergence, MoE attention. Each has a claim of the literature, most from the abstract of the paper
 * (arXiv 2105.15082), and experiments that try to refute the answer.
 *
 * Unless an arm says otherwise: top-1 with capacity factor 1.25, served by position, and the Switch balancing loss
 * with coefficient 0.01, in every layer. `1x` and `kx` are the capacity rules of M6-T.
 */
import type { Settings } from '../contract.ts'
import type { Claim } from '../grid/claim.ts'
import { type Specification, type SpecificationInput, specificationSchema } from '../grid/specification.ts'
import { dense, moe, prototypes, topK, unbalanced } from './arms.ts'
import { type Size, type StudySize, sizes } from './sizes.ts'

type Arms = Readonly<Record<string, Settings>>
type Pair = [baseline: string, arm: string]
type Control = Omit<Claim['controls'][number], 'contrast'> & { contrast: Pair }
type QuestionInput = NonNullable<SpecificationInput['questions']>[number]
type ClaimInput = NonNullable<QuestionInput['claim']> & { contrasts: Pair[]; controls: Control[] }
type Question = Omit<QuestionInput, 'contrasts' | 'claim'> & { contrasts: Pair[]; claim: ClaimInput }

const M6T = 'arXiv 2105.15082'

/** Half a per cent of a loss of 4 nats: a smaller difference does not matter in practice. */
const MARGIN = 0.02

/** Arms of `quick`: those of the claims, and of most experiments that try to refute the answers. */
const quickArms = [
  'dense',
  'dense ×2',
  'top-1',
  'no balancing',
  'random routing',
  'hash routing',
  'top-1 dropless',
  'top-1 dropless, no balancing',
  'top-2 1x',
  'top-2 kx',
  'top-4 1x',
  'top-4 kx',
  '2 top-1 1x',
  '4 top-1 1x',
  '2 top-1 kx',
  '4 top-1 kx',
  '2 top-1 1x, by choice',
  'top-1, by choice',
  'top-1, attention all',
  '2 top-1 1x, attention all',
  'tiny, dense',
  'tiny, top-1',
  'tiny, 2 top-1 1x',
  'large, dense',
  'large, top-1',
  'large, 2 top-1 1x',
  'large, hash routing',
]

export function m6t(name: StudySize): Specification {
  const size = sizes[name]
  const everyArm: Arms = {
    ...denseArms(size),
    'top-1': {},
    ...imbalanceArms,
    ...capacityArms,
    ...prototypeArms,
    ...tiedArms(size),
    ...startArms(size),
    ...attentionArms,
    ...scaleArms(size),
  }
  const arms = size.thorough ? everyArm : Object.fromEntries(quickArms.map((arm) => [arm, everyArm[arm] as Settings]))
  const isTrained = (arm: string) => Object.hasOwn(arms, arm)
  const specification: SpecificationInput = {
    title: `What makes sparse experts work: the questions of M6-T${size.thorough ? '' : ', in short'}`,
    base: 'demo',
    set: size.set,
    seeds: [...size.seeds],
    arms,
    ...(size.tune && { tune: size.tune }),
    pilot: ['top-1', '2 top-1 1x'],
    elsewhere: ['moby-dick'],
    timings: ['dense', 'top-1', 'top-2 1x', 'top-2 kx', 'top-4 kx', '2 top-1 1x', '4 top-1 1x', '2 top-1 kx'],
    timedOnly: { 'top-4 kx, k arg-max passes': topK(4, 'kx', { selection: 'sequential' }) },
    specialise: ['top-1', '2 top-1 1x'],
    questions: [
      routingQuestion,
      imbalanceQuestion,
      fixedRoutingQuestion,
      activatedQuestion,
      capacityQuestion,
      constantCostQuestion,
      equalCapacityQuestion,
      scaleQuestion(size),
      convergenceQuestion,
      attentionQuestion,
    ].map((question) => restrictTo(question, isTrained)),
  }
  return specificationSchema.parse(specification)
}

/** Drops the contrasts and controls of arms that are not trained. */
function restrictTo({ claim, contrasts, ...question }: Question, isTrained: (arm: string) => boolean): Question {
  const isAsked = (contrast: Pair) => contrast.every(isTrained)
  return {
    ...question,
    contrasts: contrasts.filter(isAsked),
    claim: {
      ...claim,
      contrasts: claim.contrasts.filter(isAsked),
      controls: claim.controls.filter(({ contrast }) => isAsked(contrast)),
    },
  }
}

function denseArms({ hidden }: Size): Arms {
  return { dense: dense(hidden), 'dense ×2': dense(2 * hidden), 'dense ×4': dense(4 * hidden) }
}

const imbalanceArms: Arms = {
  'no balancing': moe(unbalanced),
  'balancing 0.1': moe({ 'balance.coefficient': 0.1 }),
  'balancing 1': moe({ 'balance.coefficient': 1 }),
  'bias balancing': moe({ router: 'bias', ...unbalanced }),
  sinkhorn: moe({ router: 'sinkhorn', ...unbalanced }),
  'expert choice': moe({ router: 'expert-choice', ...unbalanced }),
  'random routing': moe({ router: 'random' }),
  'hash routing': moe({ router: 'hash' }),
  'top-1 dropless': topK(1, 'none'),
  'top-1 dropless, no balancing': topK(1, 'none', unbalanced),
}

const capacityArms: Arms = {
  'top-1 ×0.75': topK(1, 'kx', { factor: 0.75 }),
  'top-1 ×2': topK(1, 'kx', { factor: 2 }),
  'top-2 1x': topK(2, '1x'),
  'top-2 kx': topK(2, 'kx'),
  'top-2 kx ×0.75': topK(2, 'kx', { factor: 0.75 }),
  'top-2 dropless': topK(2, 'none'),
  'top-4 1x': topK(4, '1x'),
  'top-4 kx': topK(4, 'kx'),
}

const prototypeArms: Arms = {
  '2 top-1 1x': prototypes(2, 1, '1x'),
  '4 top-1 1x': prototypes(4, 1, '1x'),
  '2 top-1 kx': prototypes(2, 1, 'kx'),
  '4 top-1 kx': prototypes(4, 1, 'kx'),
  '2 top-2 kx': prototypes(2, 2, 'kx'),
  // Capacity is filled as in GShard: all prototypes rank tokens in the same order, so late sequences are dropped.
  '2 top-1 1x, by choice': prototypes(2, 1, '1x', { priority: 'choice' }),
  'top-1, by choice': moe({ priority: 'choice' }),
  // A softmax over fewer experts has larger gates. With gates that sum to 1, top-k has the same advantage.
  'top-2 kx, gates sum to 1': topK(2, 'kx', { renormalize: true }),
}

/**
 * In the first steps the softmax moves all rows of a tied table in the same direction, so tokens look alike at
 * the input. Hash routing suffers least, because it reveals the token to every layer.
 */
const tied: Settings = { 'model.tied': true }
const tiedArms = ({ hidden }: Size): Arms => ({
  'dense, tied': { ...tied, ...dense(hidden) },
  'top-1, tied': tied,
  'hash routing, tied': { ...tied, ...moe({ router: 'hash' }) },
})

/** Other initial scales (Gemma's embedding scale, unscaled branches), on which answers should not depend. */
const otherStart: Settings = { 'model.embeddingScale': 'sqrt-width', 'train.init.residual': 1 }
const startArms = ({ hidden }: Size): Arms => ({
  'dense, other start': { ...otherStart, ...dense(hidden) },
  'top-1, other start': otherStart,
  'no balancing, other start': { ...otherStart, ...moe(unbalanced) },
  'hash routing, other start': { ...otherStart, ...moe({ router: 'hash' }) },
  '2 top-1 1x, other start': { ...otherStart, ...prototypes(2, 1, '1x') },
})

const attentionArms: Arms = {
  'top-1, attention all': moe({ attention: 'all' }),
  'top-1, attention qkv': moe({ attention: 'qkv' }),
  '2 top-1 1x, attention all': prototypes(2, 1, '1x', { attention: 'all' }),
  '2 top-1 kx, attention all': prototypes(2, 1, 'kx', { attention: 'all' }),
}

const withoutMoe = (settings: Settings): Settings =>
  Object.fromEntries(Object.entries(settings).filter(([path]) => !path.startsWith('model.moe.')))

/** The arms of {@link scaleQuestion} at sizes other than that of the study, and hash routing at the large one. */
function scaleArms({ scale }: Size): Arms {
  const otherSizes = Object.entries(scale).filter(([prefix]) => prefix !== '')
  const arms = otherSizes.flatMap(([prefix, shape]): [string, Settings][] => [
    [`${prefix}dense`, { ...withoutMoe(shape), ...dense(shape['model.hidden'] as number) }],
    [`${prefix}top-1`, shape],
    [`${prefix}2 top-1 1x`, { ...shape, ...prototypes(2, 1, '1x') }],
  ])
  return { ...Object.fromEntries(arms), 'large, hash routing': { ...scale['large, '], ...moe({ router: 'hash' }) } }
}

/** The same contrast evaluated at other capacities, on which the answer could depend. */
const capacityControls = (contrast: Pair): Control[] => [
  { name: 'evaluated at the evaluation capacity', contrast, capacity: 'eval' },
  { name: 'evaluated without a capacity limit', contrast, capacity: 'none' },
]

const routingQuestion: Question = {
  title: 'Routing against a dense model',
  about:
    'A dense model has one feed-forward network in place of the experts, here with the same active FLOPs (those that a ' +
    'token uses). If routing helps at all, top-1 has the lower loss. Top-k sends each token to its k best experts.',
  view: 'plain',
  contrasts: [
    ['dense', 'top-1'],
    ['dense', 'random routing'],
    ['dense', 'hash routing'],
    ['dense ×2', 'top-2 kx'],
    ['dense ×4', 'top-4 kx'],
  ],
  claim: {
    kind: 'difference',
    name: 'Routing beats a dense model',
    statement: 'Top-1 over many experts is better than a dense model of the same active FLOPs',
    source: 'arXiv 2101.03961',
    contrasts: [['dense', 'top-1']],
    expect: 'better',
    controls: [
      ...capacityControls(['dense', 'top-1']),
      { name: 'another start', contrast: ['dense, other start', 'top-1, other start'] },
    ],
  },
}

const imbalanceQuestion: Question = {
  title: 'Load imbalance',
  about:
    'Does it matter how evenly tokens are spread over the experts? The balancing loss is turned off, strengthened or ' +
    'replaced. c_v, the measure of imbalance, is the standard deviation of the loads over their mean (0: even).',
  view: 'imbalance',
  contrasts: [
    ['top-1', 'no balancing'],
    ['top-1', 'balancing 0.1'],
    ['top-1', 'balancing 1'],
    ['top-1', 'bias balancing'],
    ['top-1', 'sinkhorn'],
    ['top-1', 'expert choice'],
    ['top-1 dropless', 'top-1 dropless, no balancing'],
  ],
  claim: {
    kind: 'difference',
    name: 'Imbalance does not matter',
    statement: 'Without a balancing loss a model is as good as with one',
    source: M6T,
    contrasts: [
      ['top-1', 'no balancing'],
      ['top-1 dropless', 'top-1 dropless, no balancing'],
    ],
    expect: 'equal',
    margin: MARGIN,
    controls: [
      ...capacityControls(['top-1', 'no balancing']),
      { name: 'another start', contrast: ['top-1, other start', 'no balancing, other start'] },
    ],
  },
}

const fixedRoutingQuestion: Question = {
  title: 'Learned and fixed routing',
  about:
    'Random routing loads experts most evenly; hash routing chooses the expert by the token alone. Neither learns. A tied ' +
    'table (shared by input and output) makes tokens look alike in the first steps; hash routing compensates for that.',
  view: 'plain',
  contrasts: [
    ['top-1', 'random routing'],
    ['top-1', 'hash routing'],
    ['large, top-1', 'large, hash routing'],
    ['top-1, tied', 'hash routing, tied'],
    ['dense, tied', 'top-1, tied'],
    ['top-1, tied', 'top-1'],
    ['dense, tied', 'dense'],
  ],
  claim: {
    kind: 'difference',
    name: 'Learned routing beats hashing',
    statement: 'A learned router is better than a hash of the token',
    source: 'arXiv 2202.01169',
    contrasts: [['top-1', 'hash routing']],
    expect: 'worse',
    controls: [
      ...capacityControls(['top-1', 'hash routing']),
      { name: 'with a tied table', contrast: ['top-1, tied', 'hash routing, tied'] },
      { name: 'a larger model, trained longer', contrast: ['large, top-1', 'large, hash routing'] },
      { name: 'another start', contrast: ['top-1, other start', 'hash routing, other start'] },
    ],
  },
}

const activatedQuestion: Question = {
  title: 'Number of activated experts',
  about:
    'Top-1, top-2 and top-4, with capacity for all k choices of a token (kx) or for one choice, whatever k is (1x).',
  view: 'capacity',
  contrasts: [
    ['top-1', 'top-2 kx'],
    ['top-2 kx', 'top-4 kx'],
    ['top-1', 'top-2 1x'],
    ['top-1', 'top-4 1x'],
    ['dense', 'dense ×2'],
  ],
  claim: {
    kind: 'difference',
    name: 'More activated experts help',
    statement: 'More activated experts are better, at capacity kx',
    source: M6T,
    contrasts: [
      ['top-1', 'top-2 kx'],
      ['top-2 kx', 'top-4 kx'],
    ],
    expect: 'better',
    controls: [
      { name: 'a dense model of the FLOPs of k = 2', contrast: ['dense ×2', 'top-2 kx'] },
      ...capacityControls(['top-1', 'top-2 kx']),
    ],
  },
}

const capacityQuestion: Question = {
  title: 'Capacity',
  about:
    'The capacity is the number of tokens that an expert accepts, as a multiple of an even share (1.25, unless the ' +
    'name of an arm has another: ×2); tokens beyond it are dropped. Dropless: no limit.',
  view: 'capacity',
  contrasts: [
    ['top-1', 'top-1 ×0.75'],
    ['top-1', 'top-1 ×2'],
    ['top-1', 'top-1 dropless'],
    ['top-2 1x', 'top-2 kx'],
    ['top-4 1x', 'top-4 kx'],
    ['top-2 kx', 'top-2 kx ×0.75'],
    ['top-2 kx', 'top-2 dropless'],
  ],
  claim: {
    kind: 'difference',
    name: 'Capacity matters',
    statement: 'Top-2 and top-4 are better with capacity for all choices (kx) than for one (1x)',
    source: M6T,
    contrasts: [
      ['top-2 1x', 'top-2 kx'],
      ['top-4 1x', 'top-4 kx'],
    ],
    expect: 'better',
    controls: capacityControls(['top-2 1x', 'top-2 kx']),
  },
}

const constantCostQuestion: Question = {
  title: 'Prototyping at constant cost',
  about:
    '2 top-1: the experts form 2 groups (prototypes), each with its own router, and a token goes to the best expert of ' +
    'each. At capacity 1x the experts compute no more than with top-1.',
  view: 'prototypes',
  contrasts: [
    ['top-1', '2 top-1 1x'],
    ['top-1', '4 top-1 1x'],
    ['top-2 1x', '2 top-1 1x'],
    ['top-4 1x', '4 top-1 1x'],
    ['2 top-1 1x', '2 top-1 1x, by choice'],
    ['dense', '2 top-1 1x'],
  ],
  claim: {
    kind: 'difference',
    name: 'Prototypes help at constant cost',
    statement: 'Two prototypes are better than top-1 at the cost of top-1',
    source: M6T,
    contrasts: [['top-1', '2 top-1 1x']],
    expect: 'better',
    controls: [
      ...capacityControls(['top-1', '2 top-1 1x']),
      { name: 'capacity filled in the order of the batch', contrast: ['top-1, by choice', '2 top-1 1x, by choice'] },
      { name: 'another start', contrast: ['top-1, other start', '2 top-1 1x, other start'] },
    ],
  },
}

const equalCapacityQuestion: Question = {
  title: 'Prototyping against top-k',
  about: 'Prototypes against plain top-k with the same number of activated experts and the same capacity.',
  view: 'prototypes',
  contrasts: [
    ['top-2 kx', '2 top-1 kx'],
    ['top-4 kx', '4 top-1 kx'],
    ['top-4 kx', '2 top-2 kx'],
    ['top-2 kx, gates sum to 1', '2 top-1 kx'],
    ['top-1', '2 top-1 kx'],
  ],
  claim: {
    kind: 'difference',
    name: 'k top-1 beats top-k',
    statement: 'k top-1 is better than top-k at equal capacity',
    source: M6T,
    contrasts: [
      ['top-2 kx', '2 top-1 kx'],
      ['top-4 kx', '4 top-1 kx'],
    ],
    expect: 'better',
    controls: capacityControls(['top-2 kx', '2 top-1 kx']),
  },
}

const scaleQuestion = ({ scale }: Size): Question => {
  const bySize = (baseline: string, arm: string) =>
    Object.keys(scale).map((prefix): Pair => [`${prefix}${baseline}`, `${prefix}${arm}`])
  return {
    title: 'Scale',
    about:
      'The gain of two prototypes over top-1 by model size. Each size trains on tokens in proportion to its active parameters.',
    view: 'scale',
    contrasts: [...bySize('top-1', '2 top-1 1x'), ...bySize('dense', 'top-1')],
    claim: {
      kind: 'trend',
      name: 'Prototypes gain with size',
      statement: 'The gain of prototyping at constant cost grows with the size of the model',
      source: M6T,
      contrasts: bySize('top-1', '2 top-1 1x'),
      expect: 'falls',
      controls: capacityControls(['large, top-1', 'large, 2 top-1 1x']),
    },
  }
}

const convergenceQuestion: Question = {
  title: 'Convergence',
  about:
    'How much sooner, in steps, FLOPs and seconds, an arm reaches the same loss as its baseline of the same size: the higher of their two final losses.',
  view: 'convergence',
  contrasts: [
    ['top-1', '2 top-1 1x'],
    ['top-1', '2 top-1 kx'],
    ['top-1', 'top-2 kx'],
    ['dense', 'top-1'],
  ],
  claim: {
    kind: 'speed',
    name: 'Prototypes converge faster',
    statement: 'Two prototypes reach the same loss as top-1, at the same size and cost, in fewer steps',
    source: M6T,
    contrasts: [['top-1', '2 top-1 1x']],
    expect: 'better',
    controls: capacityControls(['top-1', '2 top-1 1x']),
  },
}

const attentionQuestion: Question = {
  title: 'MoE attention',
  about:
    'Experts also in the projections of attention: in those of queries, keys and values (qkv), or in all four (all).',
  view: 'attention',
  contrasts: [
    ['top-1', 'top-1, attention all'],
    ['top-1, attention all', '2 top-1 1x, attention all'],
    ['2 top-1 1x', '2 top-1 1x, attention all'],
    ['top-1', 'top-1, attention qkv'],
    ['2 top-1 kx', '2 top-1 kx, attention all'],
    ['dense', 'top-1, attention all'],
  ],
  claim: {
    kind: 'difference',
    name: 'MoE attention harms',
    statement: 'Under plain routing, experts in attention make a model worse',
    contrasts: [['top-1', 'top-1, attention all']],
    expect: 'worse',
    controls: [
      { name: 'a dense model', contrast: ['dense', 'top-1, attention all'] },
      ...capacityControls(['top-1', 'top-1, attention all']),
    ],
  },
}
