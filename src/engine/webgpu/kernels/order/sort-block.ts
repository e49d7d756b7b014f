/**
 * The first entries of a block in order: larger keys first, equal keys by position. No two entries are equal, so the
 * result does not depend on how it is computed.
 *
 * The sort is a bitonic network (Batcher 1968) in the form in which all comparisons point the same way: to merge two
 * sorted runs, each entry of the left run is compared with its mirror image in the right run (*flip*); then both halves
 * are sorted by comparing entries at smaller and smaller strides (*exchange*). If only the first k entries are wanted,
 * runs grow to k only. Then pairs of runs are reduced to the better half of their entries, the left run after a flip,
 * until one run is left (Shanbhag, Pirk and Madden 2018). That half stays where it is, so runs get farther apart:
 * *spacing*.
 *
 * All sizes, strides and spacings are powers of two.
 */
import { type Operand, rowsOf, WORKGROUP, type Workgroups, workgroupMain } from '../contract.ts'
import { powerOfTwo } from '../views.ts'

/** Maximum number of entries that a workgroup sorts in its memory: 8 bytes each, 16 KiB. */
const MAX_BLOCK = 2048

export interface Sorted {
  readonly rows: number
  /** Number of entries of a row. */
  readonly length: number
  /** How many of the first entries are wanted. */
  readonly keep: number
  /** The numbers of which keys are made, read as u32. */
  readonly bits: Operand
  /** WGSL of the u32 key of an entry, in terms of the u32 variables `line` and `position`. */
  readonly key: (bits: string) => string
  /** WGSL of functions that `key` calls. */
  readonly functions?: string
}

export interface SortPlan {
  /** Number of entries of a row with padding. */
  readonly padded: number
  /** Number of entries of the runs to which rows are sorted: at least `keep`. */
  readonly run: number
  /** Number of entries that a workgroup sorts at once. */
  readonly block: number
}

export function sortPlan({ length, keep }: Pick<Sorted, 'length' | 'keep'>): SortPlan {
  const padded = powerOfTwo(Math.max(length, 2))
  return { padded, run: powerOfTwo(Math.max(keep, 2)), block: Math.min(padded, MAX_BLOCK) }
}

/** Whether a row of this length fits into one block. */
export const fitsBlock = (length: number): boolean => length <= MAX_BLOCK

/**
 * WGSL of `float_key`, which gives the u32 key of a float from its bits. Keys are in the order of the numbers; −0 has
 * the key of 0, and the key of NaN is above all others, so that NaN is seen.
 */
export const FLOAT_KEY = `
fn float_key(bits: u32) -> u32 {
  if ((bits & 0x7fffffffu) > 0x7f800000u) { return 0xffffffffu; }
  return select(bits | 0x80000000u, ~bits, bits > 0x80000000u);
}`

/** WGSL of `comes_first`: whether the entry a is before the entry b. */
export const COMES_FIRST = `
fn comes_first(key_a: u32, position_a: u32, key_b: u32, position_b: u32) -> bool {
  return key_a > key_b || (key_a == key_b && position_a < position_b);
}`

/** WGSL of `compare`, which swaps entries at `low` and `high` that are not in order. */
export const compareIn = (keys: string, positions: string): string => `
${COMES_FIRST}
fn compare(low: u32, high: u32) {
  let key_low = ${keys}[low];
  let key_high = ${keys}[high];
  let position_low = ${positions}[low];
  let position_high = ${positions}[high];
  if (comes_first(key_high, position_high, key_low, position_low)) {
    ${keys}[low] = key_high;
    ${keys}[high] = key_low;
    ${positions}[low] = position_high;
    ${positions}[high] = position_low;
  }
}`

/**
 * WGSL that sorts a block in workgroup memory, `keys` and `positions`: `sort_block`, or `merge_runs` if its runs are
 * bitonic. All invocations call these functions, which begin with a barrier and end without one.
 */
export const network = ({ block, run }: { readonly block: number; readonly run: number }) => `
var<workgroup> keys: array<u32, ${block}>;
var<workgroup> positions: array<u32, ${block}>;
${compareIn('keys', 'positions')}

// Compares each other run of this size, mirrored, with the run after it.
fn flip(local: u32, size: u32, spacing: u32) {
  workgroupBarrier();
  let stretch = spacing / size;
  for (var pair = local; pair < ${block / 2}u / stretch; pair += ${WORKGROUP}u) {
    let offset = pair & (size - 1u);
    let low = 2u * (pair - offset) * stretch;
    compare(low + offset, low + spacing + size - 1u - offset);
  }
}

// Compares entries at this stride, in the runs at this spacing.
fn exchange(local: u32, stride: u32, spacing: u32) {
  workgroupBarrier();
  for (var pair = local; pair < ${(block / 2) * run}u / spacing; pair += ${WORKGROUP}u) {
    let entry = 2u * pair - (pair & (stride - 1u));
    let low = entry / ${run}u * spacing + entry % ${run}u;
    compare(low, low + stride);
  }
}

fn merge_runs(local: u32, spacing: u32) {
  for (var stride = ${run / 2}u; stride > 0u; stride /= 2u) { exchange(local, stride, spacing); }
}

// Brings the first ${run} entries of the block in order.
fn sort_block(local: u32) {
  for (var size = 1u; size < ${run}u; size *= 2u) {
    flip(local, size, size);
    for (var stride = size / 2u; stride > 0u; stride /= 2u) { exchange(local, stride, ${run}u); }
  }
  for (var spacing = ${run}u; spacing < ${block}u; spacing *= 2u) {
    flip(local, ${run}u, spacing);
    merge_runs(local, 2u * spacing);
  }
}`

/** Workgroups for the blocks of all rows, one for each block. */
export function blocksOf(sorted: Sorted): Workgroups {
  const { padded, block } = sortPlan(sorted)
  return rowsOf((sorted.rows * padded) / block)
}

/**
 * WGSL that sorts each block of each row.
 * @param bits Name of the array that keys are made of.
 * @param store WGSL that keeps the entries of `keys` and `positions`, which belong to the block at `first` of the row
 * `line`
 */
export function blockSort(sorted: Sorted, bits: string, store: string): string {
  const { rows, length, key, functions = '' } = sorted
  const { padded, run, block } = sortPlan(sorted)
  const blocks = padded / block
  return `
${functions}
${network({ block, run: Math.min(run, block) })}
${workgroupMain(rows * blocks)} {
  let line = row / ${blocks}u;
  let first = row % ${blocks}u * ${block}u;
  for (var i = local; i < ${block}u; i += ${WORKGROUP}u) {
    let position = first + i;
    // Entries past the end come after all others: no key is smaller, and no position less.
    var key = 0u;
    if (position < ${length}u) { key = ${key(bits)}; }
    keys[i] = key;
    positions[i] = position;
  }
  sort_block(local);
  workgroupBarrier();
  ${store}
}`
}
