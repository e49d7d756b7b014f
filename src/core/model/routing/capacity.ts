/**
 * The capacity of experts: how many choices an expert takes, and in which order.
 *
 * Queue positions are running counts. Choices are arranged in order of priority, each as a one-hot row over
 * the experts of its prototype; the exclusive running sum of these rows is the number of choices before
 * each. `priority: position` has its own rules (`by-position.ts`). With `expert-choice`, each expert takes
 * its best C tokens of a group.
 */
import { add, broadcastTo, minimum, remainder } from '../../graph/ops/elementwise.ts'
import { scatterAlong, takeAlong } from '../../graph/ops/indexing.ts'
import { topK } from '../../graph/ops/order.ts'
import { placeInQueues as inQueues, placesChoices, queuePositions } from '../../graph/ops/routing.ts'
import { reshape, transpose } from '../../graph/ops/shape.ts'
import { constant, type Tensor } from '../../graph/tensor.ts'
import type { MoeConfig } from '../config/moe-config.ts'
import { activatedExperts } from '../config/moe-config.ts'
import { placeByPosition } from './by-position.ts'
import type { CapacityRule, Choice, Placement, QueueInput } from './contract.ts'

/**
 * Capacity C of an expert for a group of `tokens` tokens; null if nothing can be dropped.
 * kx: ⌈K·T/N·γ⌉, 1x: ⌈T/N·γ⌉ (M6-T, section 3.2; GShard, section 2.2); at least 1. An expert gets each
 * token at most once, so C ≥ T drops nothing.
 */
export function capacityOf(moe: MoeConfig, tokens: number, rule: CapacityRule): number | null {
  if (moe.capacity === 'none' || rule === 'none') return null
  const activated = moe.capacity === 'kx' ? activatedExperts(moe) : 1
  const factor = rule === 'train' ? moe.factor : moe.evalFactor
  // Subtracting 1e-9 keeps 8·1.25 = 10.000000000000002 at 10.
  const capacity = Math.max(1, Math.ceil(((activated * tokens) / moe.experts) * factor - 1e-9))
  return capacity >= tokens ? null : capacity
}

/**
 * Places every choice in the queue of its expert; with `expert-choice`, every token in the queue of every expert. If
 * the capacity cannot bind, the queues are in the order of the tokens, and the order has no effect.
 */
export function placeChoices(moe: MoeConfig, choice: Choice, input: QueueInput): Placement {
  if (moe.router === 'expert-choice') return placeExpertChoice(moe, choice, input)
  const capacity = capacityOf(moe, (choice.expert_TK.shape[0] as number) / input.groups, input.rule)
  if (moe.priority === 'position' && capacity !== null) return placeByPosition(moe, choice, input, capacity)
  return placeInQueues(moe, choice, input, capacity)
}

function placeInQueues(
  moe: MoeConfig,
  { expert_TK, gate_TK }: Choice,
  { groups }: QueueInput,
  capacity: number | null,
): Placement {
  const { prototypes, k, experts } = moe
  if (placesChoices() && moe.priority !== 'gate')
    return { ...inQueues(expert_TK, { groups, experts, capacity, byChoice: moe.priority === 'choice', k }), capacity }
  const perPrototype = experts / prototypes
  const tokens = (expert_TK.shape[0] as number) / groups
  const layout = priorityLayout(moe, groups, tokens)

  // Choices in order of priority along axis 2: [G, Z, A] with A = Tg·k'.
  const local = remainder(layout.arrange(expert_TK), perPrototype)
  const order = moe.priority === 'gate' ? topK(layout.arrange(gate_TK), tokens * k)[1] : null
  const queued = order ? takeAlong(local, order, 2) : local
  const [before, length_GZN] = queuePositions(queued, perPrototype)
  const position = order ? scatterAlong(before, order, 2, tokens * k) : before

  const count_GN = reshape(length_GZN, [groups, experts])
  return {
    position_TK: layout.restore(position),
    count_GN,
    kept_GN: capacity === null ? count_GN : minimum(count_GN, constant(capacity, 'int32')),
    capacity,
  }
}

/**
 * Every expert takes the C tokens of a group with the largest gates, and of equal gates the earlier token (Zhou et
 * al. 2022, section 3.2). All other tokens get position C.
 */
function placeExpertChoice(moe: MoeConfig, { gate_TK }: Choice, { groups, rule }: QueueInput): Placement {
  const { experts } = moe
  const tokens = (gate_TK.shape[0] as number) / groups
  const capacity = capacityOf(moe, tokens, rule)
  const taken = capacity ?? tokens
  const gate_GNT = transpose(reshape(gate_TK, [groups, tokens, experts]), [0, 2, 1])
  const [, token_GNC] = topK(gate_GNT, taken)
  // Scatters rank − C to the chosen tokens, leaves 0 elsewhere, then adds C to all.
  const rank = constant(
    Int32Array.from({ length: taken }, (_, rank) => rank - taken),
    'int32',
    [1, 1, taken],
  )
  const place_GNT = add(
    scatterAlong(broadcastTo(rank, token_GNC.shape), token_GNC, 2, tokens),
    constant(taken, 'int32'),
  )
  const count_GN = constant(new Int32Array(groups * experts).fill(taken), 'int32', [groups, experts])
  return {
    position_TK: reshape(transpose(place_GNT, [0, 2, 1]), [groups * tokens, experts]),
    count_GN,
    kept_GN: count_GN,
    capacity,
  }
}

/** Converts between [T, K] and [G, Z, A], where A is in order of priority (ties of `gate`: token, then choice). */
function priorityLayout({ prototypes, k, priority }: MoeConfig, groups: number, tokens: number) {
  const byChoice = priority === 'choice'
  const [to, back] = byChoice
    ? [
        [0, 2, 3, 1],
        [0, 3, 1, 2],
      ]
    : [
        [0, 2, 1, 3],
        [0, 2, 1, 3],
      ]
  const arranged = byChoice ? [groups, prototypes, k, tokens] : [groups, prototypes, tokens, k]
  return {
    arrange: (x_TK: Tensor) =>
      reshape(transpose(reshape(x_TK, [groups, tokens, prototypes, k]), to), [groups, prototypes, tokens * k]),
    restore: (x_GZA: Tensor) => reshape(transpose(reshape(x_GZA, arranged), back), [groups * tokens, prototypes * k]),
  }
}
