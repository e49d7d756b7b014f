/**
 * Sums of many updates, without atomics and in their order. The updates of each o are sorted by index, then by
 * position. The updates of an element are then neighbours, which it finds by binary search and adds up.
 *
 * With I > 1 the indices of an update are nearly always equal: I copies of the index of a row. Such updates are sorted
 * by this index. All other updates are *mixed*: they are sorted by an index that no row has, and every element looks at
 * all of them.
 */
import {
  type Dispatch,
  gridOf,
  linearMain,
  type Operand,
  rowsOf,
  scratch,
  WORKGROUP,
  workgroupMain,
} from '../contract.ts'
import { dispatchOf } from '../dispatch.ts'
import { lanesOf, reduction } from '../reduce.ts'
import { sortInScratch } from './sort.ts'
import { type Sorted, sortPlan } from './sort-block.ts'

/** Data and result have the shape [O, R, I]; indices and updates, `from`, have [O, U, I]. */
export interface Scatter {
  readonly outer: number
  readonly rows: number
  readonly updates: number
  readonly inner: number
  /** The data; absent if all elements are one number. */
  readonly data: Operand | undefined
  readonly indices: Operand
  readonly from: Operand
  readonly y: Operand
  /** WGSL of the element at `index` before all updates. @param data Name of the array, empty if it is absent. */
  readonly before: (data: string) => string
}

/** All operands, by the names that WGSL uses. */
export const operandsOf = ({ data, indices, from, y }: Scatter) => ({ data, indices, from, y })

/** Opens `main` for each element of the result, with its place `o`, `r`, `i`. */
export const elementMain = ({ outer, rows, inner }: Scatter): string => `
${linearMain(outer * rows * inner)} {
  let o = index / ${rows * inner}u;
  let r = index / ${inner}u % ${rows}u;
  let i = index % ${inner}u;`

const MIXED = 0x7fffffff

/** Smaller indices have larger keys, which come first. */
const keyOf = (index: string): string => `~${index}`

export function addSorted(scatter: Scatter): Dispatch[] {
  const { outer, updates, inner, indices } = scatter
  const isWide = inner > 1
  const indexOf = isWide ? scratch('int32', [outer, updates]) : indices
  const sorted: Sorted = {
    rows: outer,
    length: updates,
    keep: updates,
    bits: indexOf,
    key: (bits) => keyOf(`${bits}[line * ${updates}u + position]`),
  }
  const { padded } = sortPlan(sorted)
  const [keys, positions] = [scratch('int32', [outer, padded]), scratch('int32', [outer, padded])]
  const entries = { keys, positions, padded }
  const sort = sortInScratch(sorted, 'ScatterElements (sort)', keys, positions)
  if (!isWide) return [...sort, addOwn(scatter, entries)]
  return [indexOfUpdates(scatter, indexOf), ...sort, addOwnAndMixed(scatter, entries)]
}

/** Writes the index of each update, int32 [O, U], if its I indices are equal, else {@link MIXED}. */
function indexOfUpdates({ outer, updates, inner, indices }: Scatter, indexOf: Operand): Dispatch {
  const lanes = lanesOf(inner)
  const rows = WORKGROUP / lanes
  const groups = Math.ceil((outer * updates) / rows)
  return dispatchOf({
    name: 'ScatterElements (index)',
    operands: { indices, indexOf },
    workgroups: rowsOf(groups),
    code: ({ indices, indexOf }) => `
${reduction({ name: 'any_of_row', type: 'u32', lanes, merge: (a, b) => `(${a} | ${b})` })}
${workgroupMain(groups)} {
  let lane = local % ${lanes}u;
  let line = row * ${rows}u + local / ${lanes}u;
  let exists = line < ${outer * updates}u;
  let first = line * ${inner}u;
  var differs = 0u;
  if (exists) {
    for (var i = lane; i < ${inner}u; i += ${lanes}u) { differs |= u32(${indices}[first + i] != ${indices}[first]); }
  }
  let is_mixed = any_of_row(differs, local) != 0u;
  if (exists && lane == 0u) { ${indexOf}[line] = select(${indices}[first], ${MIXED}, is_mixed); }
}`,
  })
}

/** Sorted keys and positions of updates, int32 [O, U padded]. */
interface Entries {
  readonly keys: Operand
  readonly positions: Operand
  readonly padded: number
}

const addOwn = (scatter: Scatter, { keys, positions, padded }: Entries): Dispatch =>
  dispatchOf({
    name: 'ScatterElements (add)',
    operands: { keys: { of: keys, as: 'u32' }, positions, data: scatter.data, from: scatter.from, y: scatter.y },
    workgroups: gridOf(scatter.outer * scatter.rows * scatter.inner),
    code: ({ keys, positions, data, from, y }) => `
${lookUp(scatter, padded, keys, positions)}
${elementMain(scatter)}
  let key = ${keyOf('r')};
  var value = ${scatter.before(data)};
  for (var place = first_place(o, key); ; place++) {
    let u = update_at(o, place, key);
    if (u == NONE) { break; }
    value += ${from}[(o * NONE + u) * ${scatter.inner}u + i];
  }
  ${y}[index] = value;
}`,
  })

const addOwnAndMixed = (scatter: Scatter, { keys, positions, padded }: Entries): Dispatch =>
  dispatchOf({
    name: 'ScatterElements (add)',
    operands: { keys: { of: keys, as: 'u32' }, positions, ...operandsOf(scatter) },
    workgroups: gridOf(scatter.outer * scatter.rows * scatter.inner),
    code: ({ keys, positions, data, indices, from, y }) => `
${lookUp(scatter, padded, keys, positions)}
${elementMain(scatter)}
  let key = ${keyOf('r')};
  let mixed_key = ${keyOf(`${MIXED}u`)};
  var value = ${scatter.before(data)};
  var place = first_place(o, key);
  var mixed_place = first_place(o, mixed_key);
  // Merges both lists, to add in the order of the updates.
  loop {
    let own = update_at(o, place, key);
    let mixed = update_at(o, mixed_place, mixed_key);
    let u = min(own, mixed);
    if (u == NONE) { break; }
    let at = (o * NONE + u) * ${scatter.inner}u + i;
    if (own < mixed) { place++; } else { mixed_place++; }
    if (own < mixed || ${indices}[at] == i32(r)) { value += ${from}[at]; }
  }
  ${y}[index] = value;
}`,
  })

/** WGSL that finds updates among the sorted entries. `NONE` is their number, one past the last. */
const lookUp = ({ updates }: Scatter, padded: number, keys: string, positions: string): string => `
const NONE = ${updates}u;

// The first place with this key, or with one that comes after it.
fn first_place(o: u32, key: u32) -> u32 {
  var low = 0u;
  var high = NONE;
  while (low < high) {
    let middle = (low + high) / 2u;
    if (${keys}[o * ${padded}u + middle] > key) { low = middle + 1u; } else { high = middle; }
  }
  return low;
}

// The update at this place if it has the key.
fn update_at(o: u32, place: u32, key: u32) -> u32 {
  if (place >= NONE || ${keys}[o * ${padded}u + place] != key) { return NONE; }
  return u32(${positions}[o * ${padded}u + place]);
}`
