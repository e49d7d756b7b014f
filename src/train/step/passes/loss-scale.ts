/**
 * Loss scaling (Micikevicius et al. 2018, "Mixed precision training", section 3.2): if the loss is a mean over T
 * tokens, the gradients of activations are about 1/T, and f16 would round many of them to zero. So the loss is
 * multiplied by a power of two, and the gradients of parameters, which are float32, by its inverse. Both factors are
 * exact, so that no other part of a step has to know them. The scale is proportional to the tokens of a step and needs
 * no state: the gradient of a sum over tokens hardly depends on their number. A gradient that overflows nevertheless is
 * not finite, and its step is skipped.
 */
import type { Precision } from '../../../engine/contract/runtime.ts'

/**
 * Scale of the loss of a single token. Its gradients are mostly below 1, and f16 goes from 2⁻¹⁴ (with all its digits)
 * to 2¹⁶. So there is more room above the gradients than below them.
 */
const PER_TOKEN = 16

/** @param tokens Number of tokens of a step, over which the loss is a mean. */
export const lossScale = (math: Precision, tokens: number): number =>
  math === 'f16' ? PER_TOKEN * 2 ** Math.floor(Math.log2(tokens)) : 1
