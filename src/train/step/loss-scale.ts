/**
 * Loss scaling (Micikevicius et al. 2018, "Mixed precision training", section 3.2): the gradient of a mean loss over T
 * tokens has activations' gradients of about 1/T, many of which f16 would round to zero. So the loss is multiplied by a
 * power of two, and the gradients of parameters, which are float32, by its inverse. Both are exact, so that nothing else
 * of a step knows of it. The scale is some tokens' worth and needs no state: the gradient of a sum over tokens hardly
 * depends on their number. A gradient that overflows nevertheless is not finite, and its step is skipped.
 */
import type { Precision } from '../../engine/contract/runtime.ts'

/**
 * Gradients of a token's loss are mostly below 1, and f16 goes from 2⁻¹⁴ (with all its digits) to 2¹⁶. So there is more
 * room above than below.
 */
const PER_TOKEN = 16

/** @param tokens Of a step, over which the loss is a mean. */
export const lossScale = (math: Precision, tokens: number): number =>
  math === 'f16' ? PER_TOKEN * 2 ** Math.floor(Math.log2(tokens)) : 1
