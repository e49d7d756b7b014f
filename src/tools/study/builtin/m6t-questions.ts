/** The questions of the study `m6t`: contrasts of its arms, each with a claim and experiments that try to refute it. */
import type { Claim } from '../claim.ts'
import type { SpecificationInput } from '../specification.ts'
import type { Size } from './sizes.ts'

export type Pair = [baseline: string, arm: string]
type Control = Omit<Claim['controls'][number], 'contrast'> & { contrast: Pair }
type QuestionInput = NonNullable<SpecificationInput['questions']>[number]
type ClaimInput = NonNullable<QuestionInput['claim']> & { contrasts: Pair[]; controls: Control[] }
export type Question = Omit<QuestionInput, 'contrasts' | 'claim'> & { contrasts: Pair[]; claim: ClaimInput }

const M6T = 'arXiv 2105.15082'

/** Half a per cent of a loss of 4 nats: a smaller difference does not matter in practice. */
const MARGIN = 0.02

export const questionsOf = (size: Size): Question[] => [
  routing,
  imbalance,
  fixedRouting,
  activated,
  capacity,
  constantCost,
  prototyping,
  scale(size),
  convergence,
  attention,
]

/** Controls that evaluate a contrast at other capacities, on which the answer could depend. */
const capacityControls = (contrast: Pair): Control[] => [
  { name: 'evaluated at the evaluation capacity', contrast, capacity: 'eval' },
  { name: 'evaluated without a capacity limit', contrast, capacity: 'none' },
]

const routing: Question = {
  title: 'Routing against a dense model',
  about:
    'A dense model has one feed-forward network in place of the experts, here with the same active FLOPs (those that a ' +
    'token uses). If routing helps at all, top-1 has the lower loss. Top-k sends each token to its k best experts.',
  view: 'plain',
  contrasts: [
    ['dense', 'top-1'],
    ['dense ×2', 'top-2'],
    ['dense ×4', 'top-4'],
    ['dense', 'hash routing'],
    ['dense', 'random routing'],
    ['dense', 'top-1 ×1.25'],
    ['large, dense', 'large, top-1'],
  ],
  claim: {
    kind: 'difference',
    name: 'Routing beats a dense model',
    statement: 'Top-1 over many experts is better than a dense model of the same active FLOPs',
    source: 'arXiv 2101.03961',
    contrasts: [['dense', 'top-1']],
    expect: 'better',
    controls: [
      { name: 'with a capacity of 1.25', contrast: ['dense', 'top-1 ×1.25'] },
      { name: 'two experts, against twice the hidden width', contrast: ['dense ×2', 'top-2'] },
      { name: 'a larger model', contrast: ['large, dense', 'large, top-1'] },
      { name: 'another start', contrast: ['dense, other start', 'top-1, other start'] },
    ],
  },
}

const imbalance: Question = {
  title: 'Load imbalance',
  about:
    'Does it matter how evenly tokens are spread over the experts? The balancing loss is turned off, strengthened or ' +
    'replaced. c_v, the measure of imbalance, is the standard deviation of the loads over their mean (0: even). ' +
    'Nothing is dropped, except with ×1.25, where full experts refuse tokens, and by expert choice.',
  view: 'imbalance',
  contrasts: [
    ['top-1', 'no balancing'],
    ['top-1 ×1.25', 'no balancing ×1.25'],
    ['top-1', 'balancing 0.1'],
    ['top-1', 'balancing 1'],
    ['top-1', 'bias balancing'],
    ['top-1', 'sinkhorn'],
    ['top-1', 'expert choice'],
  ],
  claim: {
    kind: 'difference',
    name: 'Imbalance does not matter',
    statement: 'Without a balancing loss a model is as good as with one',
    source: M6T,
    contrasts: [['top-1', 'no balancing']],
    expect: 'equal',
    margin: MARGIN,
    controls: [
      { name: 'where full experts drop tokens', contrast: ['top-1 ×1.25', 'no balancing ×1.25'] },
      { name: 'balanced by biases', contrast: ['top-1', 'bias balancing'] },
    ],
  },
}

const fixedRouting: Question = {
  title: 'Learned and fixed routing',
  about:
    'Random routing loads experts most evenly; hash routing chooses the expert by the token alone. Neither learns.',
  view: 'plain',
  contrasts: [
    ['hash routing', 'top-1'],
    ['random routing', 'top-1'],
    ['hash routing, two', 'top-2'],
    ['large, hash routing', 'large, top-1'],
    ['hash routing ×1.25', 'top-1 ×1.25'],
  ],
  claim: {
    kind: 'difference',
    name: 'Learned routing beats hashing',
    statement: 'A learned router is better than a hash of the token',
    source: 'arXiv 2202.01169',
    contrasts: [['hash routing', 'top-1']],
    expect: 'better',
    controls: [
      { name: 'two experts for a token', contrast: ['hash routing, two', 'top-2'] },
      { name: 'with a capacity of 1.25', contrast: ['hash routing ×1.25', 'top-1 ×1.25'] },
      { name: 'a larger model, trained longer', contrast: ['large, hash routing', 'large, top-1'] },
      { name: 'another start', contrast: ['hash routing, other start', 'top-1, other start'] },
    ],
  },
}

const activated: Question = {
  title: 'Number of activated experts',
  about: 'Top-1, top-2 and top-4, dropless: every token gets all of its k experts.',
  view: 'capacity',
  contrasts: [
    ['top-1', 'top-2'],
    ['top-2', 'top-4'],
    ['dense', 'dense ×2'],
    ['dense ×2', 'dense ×4'],
  ],
  claim: {
    kind: 'difference',
    name: 'More activated experts help',
    statement: 'More activated experts are better',
    source: M6T,
    contrasts: [
      ['top-1', 'top-2'],
      ['top-2', 'top-4'],
    ],
    expect: 'better',
    controls: [
      { name: 'a dense model of the FLOPs of k = 2', contrast: ['dense ×2', 'top-2'] },
      { name: 'a larger model', contrast: ['large, top-1', 'large, top-2'] },
    ],
  },
}

const capacity: Question = {
  title: 'Capacity',
  about:
    'The capacity is the number of tokens that an expert accepts, as a multiple of an even share (1.25, unless the ' +
    'name of an arm has another: ×2); tokens beyond it are dropped. kx: a share of all k choices, 1x: of one choice, ' +
    'whatever k is. The arms without any of these have no limit.',
  view: 'capacity',
  contrasts: [
    ['top-2 1x', 'top-2 kx'],
    ['top-4 1x', 'top-4 kx'],
    ['top-1 ×1.25', 'top-1 ×0.75'],
    ['top-1 ×1.25', 'top-1 ×2'],
    ['top-1 ×1.25', 'top-1'],
    ['top-2 kx', 'top-2'],
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

const constantCost: Question = {
  title: 'Prototyping at constant cost',
  about:
    '2 top-1: the experts form 2 groups (prototypes), each with its own router, and a token goes to the best expert of ' +
    'each. At capacity 1x the experts compute no more than those of top-1 with a capacity of 1.25.',
  view: 'prototypes',
  contrasts: [
    ['top-1 ×1.25', '2 top-1 1x'],
    ['top-1 ×1.25', '4 top-1 1x'],
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
    contrasts: [['top-1 ×1.25', '2 top-1 1x']],
    expect: 'better',
    controls: [
      { name: 'against top-1 without drops', contrast: ['top-1', '2 top-1 1x'] },
      ...capacityControls(['top-1 ×1.25', '2 top-1 1x']),
      {
        name: 'capacity filled in the order of the batch',
        contrast: ['top-1 ×1.25, by choice', '2 top-1 1x, by choice'],
      },
    ],
  },
}

const prototyping: Question = {
  title: 'Prototyping against top-k',
  about: 'Prototypes against plain top-k with the same number of activated experts, dropless.',
  view: 'prototypes',
  contrasts: [
    ['top-2', '2 top-1'],
    ['top-4', '4 top-1'],
    ['top-4', '2 top-2'],
    ['top-2, gates sum to 1', '2 top-1'],
    ['top-2 kx', '2 top-1 kx'],
    ['top-1', '2 top-1'],
  ],
  claim: {
    kind: 'difference',
    name: 'k top-1 beats top-k',
    statement: 'k top-1 is better than top-k with as many activated experts',
    source: M6T,
    contrasts: [
      ['top-2', '2 top-1'],
      ['top-4', '4 top-1'],
    ],
    expect: 'better',
    controls: [
      { name: 'at capacity kx', contrast: ['top-2 kx', '2 top-1 kx'] },
      { name: 'against gates that sum to 1', contrast: ['top-2, gates sum to 1', '2 top-1'] },
      { name: 'a larger model', contrast: ['large, top-2', 'large, 2 top-1'] },
    ],
  },
}

const scale = ({ scale }: Size): Question => {
  const bySize = (baseline: string, arm: string) =>
    Object.keys(scale).map((prefix): Pair => [`${prefix}${baseline}`, `${prefix}${arm}`])
  return {
    title: 'Scale',
    about:
      'The gain of two prototypes over top-1 at the same cost by model size, and those of prototypes over top-2 and of ' +
      'learned experts over a dense model and over a hash. Each size trains on tokens in proportion to its active parameters.',
    view: 'scale',
    contrasts: [
      ...bySize('top-1 ×1.25', '2 top-1 1x'),
      ...bySize('top-2', '2 top-1'),
      ...bySize('dense', 'top-1'),
      ...bySize('hash routing', 'top-1'),
    ],
    claim: {
      kind: 'trend',
      name: 'Prototypes gain with size',
      statement: 'The gain of prototyping at constant cost grows with the size of the model',
      source: M6T,
      contrasts: bySize('top-1 ×1.25', '2 top-1 1x'),
      expect: 'falls',
      controls: capacityControls(['large, top-1 ×1.25', 'large, 2 top-1 1x']),
    },
  }
}

const convergence: Question = {
  title: 'Convergence',
  about:
    'How much sooner, in steps, FLOPs and seconds, an arm reaches the same loss as its baseline of the same size: the higher of their two final losses.',
  view: 'convergence',
  contrasts: [
    ['top-1 ×1.25', '2 top-1 1x'],
    ['top-1', '2 top-1'],
    ['top-1', 'top-2'],
    ['dense', 'top-1'],
  ],
  claim: {
    kind: 'speed',
    name: 'Prototypes converge faster',
    statement: 'Two prototypes reach the same loss as top-1, at the same size and cost, in fewer steps',
    source: M6T,
    contrasts: [['top-1 ×1.25', '2 top-1 1x']],
    expect: 'better',
    controls: capacityControls(['top-1 ×1.25', '2 top-1 1x']),
  },
}

const attention: Question = {
  title: 'MoE attention',
  about:
    'Experts also in the projections of attention: in those of queries, keys and values (qkv), or in all four. The gate ' +
    'of a learned top-1 router is below 1 and scales queries and keys down; that of hash routing is 1, as are gates ' +
    'that are made to sum to 1.',
  view: 'attention',
  contrasts: [
    ['top-1', 'top-1, attention'],
    ['hash routing', 'hash routing, attention'],
    ['top-2, gates sum to 1', 'top-2, gates sum to 1, attention'],
    ['2 top-1', '2 top-1, attention'],
    ['top-1', 'top-1, attention qkv'],
    ['dense', 'top-1, attention'],
  ],
  claim: {
    kind: 'difference',
    name: 'MoE attention harms',
    statement: 'Under plain routing, experts in attention make a model worse',
    contrasts: [['top-1', 'top-1, attention']],
    expect: 'worse',
    controls: [
      { name: 'by hash, with gates of 1', contrast: ['hash routing', 'hash routing, attention'] },
      {
        name: 'with gates that sum to 1',
        contrast: ['top-2, gates sum to 1', 'top-2, gates sum to 1, attention'],
      },
      { name: 'a dense model', contrast: ['dense', 'top-1, attention'] },
    ],
  },
}
