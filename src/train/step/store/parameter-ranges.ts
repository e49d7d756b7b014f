/**
 * The parameters as an optimizer sees them that needs no layers: as few plain ranges as possible, over which parameters,
 * gradients and moments advance together. A process alone without frozen parameters has two ranges per bank, with weight
 * decay and without.
 */
import { sizeOf } from '../../../core/graph/shape.ts'
import type { ParameterSpec } from '../../../core/model/parameters.ts'
import { paddedFloats } from './bank.ts'
import type { Share } from './placement.ts'
import type { ParameterStore, Piece } from './store.ts'

/** A range of owned parameters of one bank. */
export interface ParameterRange extends Piece {
  /** Offsets of the moments, in floats. */
  readonly moments: readonly number[]
  /** The first tensor in the range. */
  readonly spec: ParameterSpec
}

/**
 * Owned parameters that are trained, with moments of one number per parameter.
 * @param names Names of the tensors; default: all.
 * @param alike Whether two tensors may be in one range; default: if they have the same weight decay.
 */
export function parameterRanges(
  store: ParameterStore,
  names?: ReadonlySet<string>,
  alike = hasSameDecay,
): ParameterRange[] {
  const ranges: ParameterRange[] = []
  const order = store.namesInMemory
  const place = ({ spec }: Share) => order.indexOf(spec.name)
  for (const share of store.trainedShares().toSorted((a, b) => place(a) - place(b))) {
    const { spec, floats } = share
    if (names && !names.has(spec.name)) continue
    const pieces = store.piecesOf(share)
    for (const [i, piece] of pieces.entries()) {
      const momentOf = (_: unknown, m: number) => store.moment(spec.name, m).start + i * piece.count
      const range: ParameterRange = {
        ...piece,
        moments: Array.from({ length: store.momentRegions }, momentOf),
        // Padding ends a whole tensor, not a part of it.
        count: floats === sizeOf(spec.shape) && pieces.length === 1 ? paddedFloats(floats) : piece.count,
        spec,
      }
      const last = ranges.at(-1)
      if (last && alike(last.spec, spec) && follows(range, last))
        ranges[ranges.length - 1] = { ...last, count: last.count + range.count }
      else ranges.push(range)
    }
  }
  return ranges
}

const hasSameDecay = (a: ParameterSpec, b: ParameterSpec): boolean => a.decay === b.decay

/** Whether a range continues another in every region. */
function follows(range: ParameterRange, last: ParameterRange): boolean {
  return (
    range.arena === last.arena &&
    range.parameters === last.parameters + last.count &&
    range.gradients === last.gradients + last.count &&
    range.moments.every((start, i) => start === (last.moments[i] as number) + last.count)
  )
}
