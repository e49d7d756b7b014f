/** Choices of experts by several rows: an expert computes at once for all rows that chose it. */
import { RuntimeError } from '../../../contract/runtime.ts'
import type { KernelTensor } from '../contract.ts'

/**
 * The choices of the expert of a choice, in their order, if the choice is the first of them; none otherwise. So of the
 * tasks of all choices, one computes for each expert. They are in pieces of at most R choices: more only if a row chose
 * an expert twice.
 * @param experts Numbers of experts int32 [R, K]; a choice is an index of them.
 * @param count Number of experts of the layer.
 * @throws RuntimeError if the layer has no such expert
 */
export function choicesFrom(
  integers: Int32Array,
  experts: KernelTensor,
  choice: number,
  count: number,
): readonly (readonly number[])[] {
  const first = experts.offset / 4
  const expert = integers[first + choice] as number
  if (!(expert >= 0 && expert < count))
    throw new RuntimeError(`invalid expert: ${expert} (expected one of the ${count} of the layer)`)
  for (let earlier = 0; earlier < choice; earlier++) if (integers[first + earlier] === expert) return []
  let piece = [choice]
  const pieces = [piece]
  for (let later = choice + 1; later < experts.size; later++) {
    if (integers[first + later] !== expert) continue
    if (piece.length === experts.shape[0]) {
      piece = []
      pieces.push(piece)
    }
    piece.push(later)
  }
  return pieces
}
