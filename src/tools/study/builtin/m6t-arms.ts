/** The arms of the study `m6t`, by name. An arm without a capacity in its name is dropless. */
import type { Settings } from '../specification.ts'
import { dense, moe, prototypes, topK, unbalanced } from './arms.ts'
import type { Size } from './sizes.ts'

type Arms = Readonly<Record<string, Settings>>

export const armsOf = (size: Size): Arms => ({
  ...denseArms(size),
  ...activatedArms,
  ...balanceArms,
  ...capacityArms,
  ...startArms(size),
  ...attentionArms,
  ...scaleArms(size),
})

/** Dense models with the active FLOPs of top-1, top-2 and top-4. */
const denseArms = ({ hidden }: Size): Arms => ({
  dense: dense(hidden),
  'dense ×2': dense(2 * hidden),
  'dense ×4': dense(4 * hidden),
})

const activatedArms: Arms = {
  'top-1': {},
  'top-2': topK(2, 'none'),
  'top-4': topK(4, 'none'),
  '2 top-1': prototypes(2, 1, 'none'),
  '4 top-1': prototypes(4, 1, 'none'),
  '2 top-2': prototypes(2, 2, 'none'),
  // A softmax over fewer experts has larger gates. With gates that sum to 1, top-k has the same advantage.
  'top-2, gates sum to 1': topK(2, 'none', { renormalize: true }),
  'hash routing': moe({ router: 'hash' }),
  'hash routing, two': moe({ router: 'hash', k: 2 }),
  'random routing': moe({ router: 'random' }),
}

const balanceArms: Arms = {
  'no balancing': moe(unbalanced),
  'balancing 0.1': moe({ 'balance.coefficient': 0.1 }),
  'balancing 1': moe({ 'balance.coefficient': 1 }),
  'bias balancing': moe({ router: 'bias', ...unbalanced }),
  // This router balances loads in training only. Evaluation uses its plain choices, and nothing is dropped.
  sinkhorn: moe({ router: 'sinkhorn', ...unbalanced }),
  'expert choice': moe({ router: 'expert-choice', capacity: 'kx', ...unbalanced }),
}

const capacityArms: Arms = {
  'top-1 ×0.75': topK(1, 'kx', { factor: 0.75 }),
  'top-1 ×1.25': topK(1, 'kx'),
  'top-1 ×2': topK(1, 'kx', { factor: 2 }),
  'no balancing ×1.25': topK(1, 'kx', unbalanced),
  'hash routing ×1.25': moe({ router: 'hash', capacity: 'kx' }),
  'top-2 1x': topK(2, '1x'),
  'top-2 kx': topK(2, 'kx'),
  'top-4 1x': topK(4, '1x'),
  'top-4 kx': topK(4, 'kx'),
  '2 top-1 1x': prototypes(2, 1, '1x'),
  '4 top-1 1x': prototypes(4, 1, '1x'),
  '2 top-1 kx': prototypes(2, 1, 'kx'),
  // Capacity is filled as in GShard: all prototypes rank tokens in the same order, so late sequences are dropped.
  'top-1 ×1.25, by choice': topK(1, 'kx', { priority: 'choice' }),
  '2 top-1 1x, by choice': prototypes(2, 1, '1x', { priority: 'choice' }),
}

/** Other initial scales (Gemma's embedding scale, unscaled branches), on which answers should not depend. */
const otherStart: Settings = { 'model.embeddingScale': 'sqrt-width', 'train.init.residual': 1 }
const startArms = ({ hidden }: Size): Arms => ({
  'dense, other start': { ...otherStart, ...dense(hidden) },
  'top-1, other start': otherStart,
  'hash routing, other start': { ...otherStart, ...moe({ router: 'hash' }) },
})

/** Small gates scale queries and keys down. Arms with gates of 1, by hash or normalised, show what that does. */
const attentionArms: Arms = {
  'top-1, attention': moe({ attention: 'all' }),
  'top-1, attention qkv': moe({ attention: 'qkv' }),
  'hash routing, attention': moe({ router: 'hash', attention: 'all' }),
  '2 top-1, attention': prototypes(2, 1, 'none', { attention: 'all' }),
  'top-2, gates sum to 1, attention': topK(2, 'none', { renormalize: true, attention: 'all' }),
}

const withoutMoe = (settings: Settings): Settings =>
  Object.fromEntries(Object.entries(settings).filter(([path]) => !path.startsWith('model.moe.')))

/** Some arms at sizes other than the size of the study. */
function scaleArms({ scale }: Size): Arms {
  const otherSizes = Object.entries(scale).filter(([prefix]) => prefix !== '')
  const arms = otherSizes.flatMap(([prefix, shape]): [string, Settings][] => [
    [`${prefix}dense`, { ...withoutMoe(shape), ...dense(shape['model.hidden'] as number) }],
    [`${prefix}top-1`, shape],
    [`${prefix}top-2`, { ...shape, ...topK(2, 'none') }],
    [`${prefix}2 top-1`, { ...shape, ...prototypes(2, 1, 'none') }],
    [`${prefix}top-1 ×1.25`, { ...shape, ...topK(1, 'kx') }],
    [`${prefix}2 top-1 1x`, { ...shape, ...prototypes(2, 1, '1x') }],
    [`${prefix}hash routing`, { ...shape, ...moe({ router: 'hash' }) }],
  ])
  return Object.fromEntries(arms)
}
