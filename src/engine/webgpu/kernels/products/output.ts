/** Ends of products: the WGSL that takes results, four at a time, and writes them. */
import { type Dispatch, gridOf, linearMain } from '../../contract.ts'
import { asFloats, type Floats, type Lines, literal, readFour, writeFour } from './floats.ts'

export interface Output {
  /** Operands that it reads or writes. */
  readonly lines: readonly Lines[]
  /**
   * WGSL: `fn put(at: u32, count: u32, value: vec4<f32>)` takes `count` neighbouring results from `at` on, at most four.
   * @param names Of the arrays of `lines`.
   */
  readonly code: (names: readonly string[], floats: readonly Floats[]) => string
}

export interface Sum {
  readonly to: Lines
  /** `itself`: the former value of `to`. */
  readonly addend?: Lines | 'itself' | null
  readonly alpha?: number
}

/** to ← alpha · value + addend */
export function sumOutput({ to, addend = null, alpha = 1 }: Sum): Output {
  const lines = addend && addend !== 'itself' ? [to, addend] : [to]
  const scaled = alpha === 1 ? 'value' : `${literal(alpha)} * value`
  return {
    lines,
    code: (names, floats) => `${writeFour('write_result', names[0] as string, floats[0] as Floats)}
${addend ? readFour('read_addend', names.at(-1) as string, floats.at(-1) as Floats) : ''}
fn put(at: u32, count: u32, value: vec4<f32>) {
  write_result(at, count, ${scaled}${addend ? ' + read_addend(at, count)' : ''});
}`,
  }
}

/** The operands of an output as lines of another length. */
export const linesOf = ({ lines }: Output, line: number): Lines[] => lines.map((of) => ({ ...of, line }))

/** Adds `parts` [count, size] in their order. */
export function sumParts(parts: Lines, count: number, size: number, output: Output): Dispatch {
  const floats = asFloats([{ ...parts, line: size }, ...linesOf(output, size)])
  const [ofParts, ...ofOutput] = floats as [Floats, ...Floats[]]
  const fours = Math.ceil(size / 4)
  return {
    name: 'sum of parts',
    operands: floats.map(({ use }) => use),
    workgroups: gridOf(fours),
    code: ([array, ...names]) => `
${readFour('read_part', array as string, ofParts)}
${output.code(names, ofOutput)}
${linearMain(fours)} {
  let at = 4u * index;
  let count = ${size}u - at;
  var sum = read_part(at, count);
  for (var part = 1u; part < ${count}u; part++) { sum += read_part(part * ${size}u + at, count); }
  put(at, count, sum);
}`,
  }
}

/** `size` sums of nothing: zeros. */
export function emptySums(size: number, output: Output): Dispatch {
  const floats = asFloats(linesOf(output, size))
  const fours = Math.ceil(size / 4)
  return {
    name: 'empty sums',
    operands: floats.map(({ use }) => use),
    workgroups: gridOf(fours),
    code: (names) => `
${output.code(names, floats)}
${linearMain(fours)} { put(4u * index, ${size}u - 4u * index, vec4<f32>()); }`,
  }
}
