/** The routers. `top-k`, `switch` and `prototype` are one learned router with different settings. */
import {
  add,
  broadcastTo,
  constant,
  divide,
  matmul,
  reshape,
  softmax,
  sum,
  type Tensor,
  topK,
} from '../../graph/index.ts'
import type { MoeConfig } from '../config.ts'
import type { Choice, Router, RouterInput } from './contract.ts'

/**
 * The k' best experts of every prototype by a linear router. The gate is the softmax over the
 * prototype's experts, or over the chosen ones (`softmax: after`), if asked divided by its sum over
 * the prototype's choices. (M6-T, section 3; Switch Transformers, eq. 1-2; GShard, algorithm 1.)
 */
const learned: Router = ({ moe, x_TD, router_DN }) => {
  const { prototypes, k, experts } = moe
  const perPrototype = experts / prototypes
  const [tokens = 0] = x_TD.shape
  const logits_TZN = reshape(matmul(x_TD, router_DN as Tensor), [tokens, prototypes, perPrototype])
  const probability_TZN = softmax(logits_TZN)
  const [best, local] = topK(moe.softmax === 'before' ? probability_TZN : logits_TZN, k)
  const gate = moe.softmax === 'before' ? best : softmax(best)
  const share = moe.renormalize ? divide(gate, sum(gate, { axes: [-1], keepDims: true })) : gate
  const first = constant(
    Int32Array.from({ length: prototypes }, (_, z) => z * perPrototype),
    'int32',
    [prototypes, 1],
  )
  return {
    expert_TK: reshape(add(local, first), [tokens, prototypes * k]),
    gate_TK: reshape(share, [tokens, prototypes * k]),
    logits_TZN,
    probability_TZN,
  }
}

/** Experts chosen outside (by a hash of the token, or at random), each with gate 1/k. */
const given: Router = ({ moe, x_TD, given_TK }) => ({
  expert_TK: given_TK as Tensor,
  gate_TK: broadcastTo(constant(1 / moe.k, x_TD.dtype), (given_TK as Tensor).shape),
})

const routers: Record<MoeConfig['router'], Router> = {
  'top-k': learned,
  switch: learned,
  prototype: learned,
  hash: given,
  random: given,
}

export const route = (input: RouterInput): Choice => routers[input.moe.router](input)
