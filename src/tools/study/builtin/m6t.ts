/**
 * The questions of M6-T as a study: whether routing helps at all, load imbalance, k and capacity, prototyping,
 * scale, convergence, MoE attention. Each question has a claim of the literature, most from the abstract of the
 * paper (arXiv 2105.15082), and experiments that try to refute the answer.
 *
 * Unless its settings say otherwise, an arm is top-1 in every layer, dropless, with the Switch balancing loss. So no
 * answer contains dropped tokens, except where capacity is the question: `×1.25`, `1x` and `kx` are the capacity rules
 * of M6-T.
 */
import { type Settings, type Specification, type SpecificationInput, specificationSchema } from '../specification.ts'
import { armsOf } from './m6t-arms.ts'
import { type Pair, type Question, questionsOf } from './m6t-questions.ts'
import { type StudySize, sizes } from './sizes.ts'

/** Arms of `quick`: the arms of the claims, and of most experiments that try to refute the answers. */
const quickArms = [
  'dense',
  'dense ×2',
  'top-1',
  'top-2',
  '2 top-1',
  'no balancing',
  'hash routing',
  'top-1 ×1.25',
  'no balancing ×1.25',
  'hash routing ×1.25',
  'top-2 1x',
  'top-2 kx',
  '2 top-1 1x',
  'top-1, attention',
  'hash routing, attention',
  'tiny, dense',
  'tiny, top-1',
  'tiny, top-1 ×1.25',
  'tiny, 2 top-1 1x',
  'large, dense',
  'large, top-1',
  'large, top-1 ×1.25',
  'large, 2 top-1 1x',
]

export function m6t(name: StudySize): Specification {
  const size = sizes[name]
  const every = armsOf(size)
  const arms = size.thorough ? every : Object.fromEntries(quickArms.map((arm) => [arm, every[arm] as Settings]))
  const isTrained = (arm: string) => Object.hasOwn(arms, arm)
  const specification: SpecificationInput = {
    title: `What makes sparse experts work: the questions of M6-T${size.thorough ? '' : ', in short'}`,
    base: 'demo',
    set: size.set,
    seeds: [...size.seeds],
    arms,
    ...(size.tune && { tune: size.tune }),
    pilot: ['dense', 'top-1'],
    elsewhere: ['moby-dick'],
    timings: ['dense', 'top-1', 'top-2', '2 top-1', 'top-1 ×1.25', '2 top-1 1x'],
    timedOnly: { 'top-4 kx, k arg-max passes': { ...every['top-4 kx'], 'model.moe.selection': 'sequential' } },
    specialise: ['top-1', '2 top-1'],
    questions: questionsOf(size).map((question) => restrictTo(question, isTrained)),
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
