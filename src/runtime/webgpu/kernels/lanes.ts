/**
 * Rows that share a workgroup. A row has a power of two of *lanes*: invocations that each take every `lanes`-th of its
 * elements, so that neighbours read neighbours. Narrow rows have few lanes, and a workgroup has several rows.
 */
import { WORKGROUP } from '../contract.ts'
import { powerOfTwo } from './views.ts'

export interface RowLanes {
  readonly lanes: number
  /** Rows of a workgroup. */
  readonly rows: number
}

/** Each lane gets about `perLane` elements, more in rows wider than a workgroup. */
export function rowLanes(width: number, perLane: number, most = WORKGROUP): RowLanes {
  const lanes = Math.min(most, powerOfTwo(Math.ceil(width / perLane)))
  return { lanes, rows: WORKGROUP / lanes }
}

/**
 * WGSL that folds one element of each lane into that of lane 0, in a tree: always in the same order. It begins and ends
 * with a barrier, so all invocations must get there.
 * @param fold WGSL that folds the element of the invocation `from` into that of `local`
 * @param options.lane WGSL of the lane of an invocation.
 * @param options.stride Invocations from a lane to the next.
 */
export const foldLanes = (
  lanes: number,
  fold: (from: string) => string,
  { lane = 'lane', stride = 1 }: { readonly lane?: string; readonly stride?: number } = {},
): string => `
  for (var step = ${Math.floor(lanes / 2)}u; step > 0u; step /= 2u) {
    workgroupBarrier();
    if (${lane} < step) { ${fold(`local + step * ${stride}u`)} }
  }
  workgroupBarrier();`
