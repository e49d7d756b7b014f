/**
 * Sums of many updates, without atomics and in their order. The updates of each o are sorted by index, then by position.
 * Those of an element are neighbours then, which it finds by binary search and adds up.
 *
 * With I > 1 the indices of an update are nearly always equal: I copies of the index of a row. Such updates are sorted by
 * this index. Any others are *mixed*: they are sorted by an index that no row has, and every element looks at all of
 * them.
 */
import {
  type Dispatch,
  gridOf,
  type Lowered,
  linearMain,
  type Place,
  rowsOf,
  WORKGROUP,
  workgroupMain,
} from '../../contract.ts'
import { dispatchOf } from '../dispatch.ts'
import { lanesOf, reduction } from '../reduce.ts'
import { sortInScratch } from './sort.ts'
import { type Sorted, sortPlan } from './sort-block.ts'

/** Shapes: data and result [O, R, I]; indices and updates, `from`, [O, U, I]. */
export interface Scatter {
  readonly type: 'f32' | 'i32'
  readonly outer: number
  readonly rows: number
  readonly updates: number
  readonly inner: number
  readonly places: { readonly data: Place | undefined; readonly indices: Place; readonly from: Place }
  /** WGSL: the element at `index` before all updates. @param data Name of the array, empty if there is none. */
  readonly before: (data: string) => string
}

/** Opens `main` for each element of the result, with its place `o`, `r`, `i`. */
export const elementMain = ({ outer, rows, inner }: Scatter): string => `
${linearMain(outer * rows * inner)} {
  let o = index / ${rows * inner}u;
  let r = index / ${inner}u % ${rows}u;
  let i = index % ${inner}u;`

/** int32 [O, U padded]. */
const [KEYS, POSITIONS]: readonly [Place, Place] = [{ scratch: 0 }, { scratch: 1 }]
/** The index of each update, or {@link MIXED}: int32 [O, U]. */
const INDEX_OF: Place = { scratch: 2 }

const MIXED = 0x7fffffff

/** Smaller indices have larger keys, which come first. */
const keyOf = (index: string): string => `~${index}`

export function addSorted(scatter: Scatter): Lowered {
  const { outer, updates, inner, places } = scatter
  const isWide = inner > 1
  const sorted: Sorted = {
    rows: outer,
    length: updates,
    keep: updates,
    operands: [{ ...(isWide ? INDEX_OF : places.indices), as: 'u32' }],
    key: ([indices]) => keyOf(`${indices}[line * ${updates}u + position]`),
  }
  const { padded } = sortPlan(sorted)
  const entries = { dtype: 'int32', shape: [outer, padded] } as const
  const sort = sortInScratch(sorted, 'ScatterElements (sort)', KEYS, POSITIONS)
  if (!isWide) return { scratch: [entries, entries], dispatches: [...sort, addOwn(scatter, padded)] }
  return {
    scratch: [entries, entries, { dtype: 'int32', shape: [outer, updates] }],
    dispatches: [indexOfUpdates(scatter), ...sort, addOwnAndMixed(scatter, padded)],
  }
}

/** The index of each update if its I indices are equal, else {@link MIXED}. */
function indexOfUpdates({ outer, updates, inner, places }: Scatter): Dispatch {
  const lanes = lanesOf(inner)
  const rows = WORKGROUP / lanes
  const groups = Math.ceil((outer * updates) / rows)
  return {
    name: 'ScatterElements (index)',
    operands: [places.indices, INDEX_OF],
    workgroups: rowsOf(groups),
    code: ([indices, indexOf]) => `
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
  }
}

const addOwn = (scatter: Scatter, padded: number): Dispatch =>
  dispatchOf({
    name: 'ScatterElements (add)',
    operands: {
      keys: { ...KEYS, as: 'u32' },
      positions: POSITIONS,
      data: scatter.places.data,
      from: scatter.places.from,
      y: { output: 0 },
    },
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

const addOwnAndMixed = (scatter: Scatter, padded: number): Dispatch =>
  dispatchOf({
    name: 'ScatterElements (add)',
    operands: {
      keys: { ...KEYS, as: 'u32' },
      positions: POSITIONS,
      ...scatter.places,
      y: { output: 0 },
    },
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
