/**
 * The outputs of products: WGSL that takes results, four at a time, and writes them; and the dispatches that use it.
 */
import { type Dispatch, gridOf, linearMain, type Use } from '../contract.ts'
import { asFloats, type Floats, type Lines, literal, readFour, writeFour } from './floats.ts'

export interface Output {
  /** Operands that the output reads or writes. */
  readonly lines: readonly Lines[]
  /**
   * WGSL: `fn put(at: u32, count: u32, value: vec4<f32>)` takes `count` neighbouring results from `at` on, at most four.
   * @param arrays The arrays of `lines`.
   */
  readonly code: (arrays: readonly Floats[]) => string
}

/** An output whose operands have names. */
export function outputOf<Name extends string>(
  lines: Readonly<Record<Name, Lines>>,
  code: (arrays: Readonly<Record<Name, Floats>>) => string,
): Output {
  const names = Object.keys(lines)
  return {
    lines: Object.values(lines),
    code: (arrays) => code(Object.fromEntries(arrays.map((array, i) => [names[i], array]))),
  }
}

/** An output whose operands have lines of another length. */
export const withLines = ({ lines, code }: Output, line: number): Output => ({
  lines: lines.map(({ of }) => ({ of, line })),
  code,
})

export interface Sum {
  readonly to: Lines
  /** Lines to add; `itself` is the former value of `to`. */
  readonly addend?: Lines | 'itself' | undefined
  readonly alpha?: number | undefined
}

/** An output that writes to ← alpha · value + addend. */
export function sumOutput({ to, addend, alpha = 1 }: Sum): Output {
  const scaled = alpha === 1 ? 'value' : `${literal(alpha)} * value`
  const code = (to: Floats, addend?: Floats) => `${writeFour('write_result', to)}
${addend ? readFour('read_addend', addend) : ''}
fn put(at: u32, count: u32, value: vec4<f32>) {
  write_result(at, count, ${scaled}${addend ? ' + read_addend(at, count)' : ''});
}`
  if (addend === 'itself') return outputOf({ to }, ({ to }) => code(to, to))
  return addend
    ? outputOf({ to, addend }, ({ to, addend }) => code(to, addend))
    : outputOf({ to }, ({ to }) => code(to))
}

interface ProductDispatch<Name extends string> extends Pick<Dispatch, 'name' | 'workgroups'> {
  /** An array of integers, if the code reads one. */
  readonly list?: Use
  readonly factors: Readonly<Record<Name, Lines>>
  readonly output: Output
  /** @param put WGSL of the output. @param list Name of the array, empty if absent. */
  readonly code: (arrays: Readonly<Record<Name, Floats>>, put: string, list: string) => string
}

/** A dispatch that computes results from factors, and gives them to an output. */
export function productDispatch<Name extends string>(dispatch: ProductDispatch<Name>): Dispatch {
  const { name, workgroups, list, output, code } = dispatch
  const factors = Object.entries<Lines>(dispatch.factors)
  const floats = asFloats([...factors.map(([, lines]) => lines), ...output.lines])
  return {
    name,
    workgroups,
    operands: [...(list ? [list] : []), ...floats],
    code(names) {
      const given = names.values()
      const next = (): string => given.next().value ?? ''
      const ofList = list ? next() : ''
      const arrays = floats.map((of): Floats => ({ ...of, array: next() }))
      const named = factors.map(([name], i) => [name, arrays[i]])
      return code(Object.fromEntries(named), output.code(arrays.slice(factors.length)), ofList)
    },
  }
}

/** Adds `parts` [count, size] in their order. */
export function sumParts(parts: Lines, count: number, size: number, output: Output): Dispatch {
  const fours = Math.ceil(size / 4)
  return productDispatch({
    name: 'sum of parts',
    workgroups: gridOf(fours),
    factors: { parts: { ...parts, line: size } },
    output: withLines(output, size),
    code: ({ parts }, put) => `
${readFour('read_part', parts)}
${put}
${linearMain(fours)} {
  let at = 4u * index;
  let count = ${size}u - at;
  var sum = read_part(at, count);
  for (var part = 1u; part < ${count}u; part++) { sum += read_part(part * ${size}u + at, count); }
  put(at, count, sum);
}`,
  })
}

/** A dispatch that writes `size` sums of nothing, which are zeros. */
export function emptySums(size: number, output: Output): Dispatch {
  const fours = Math.ceil(size / 4)
  return productDispatch({
    name: 'empty sums',
    workgroups: gridOf(fours),
    factors: {},
    output: withLines(output, size),
    code: (_, put) => `
${put}
${linearMain(fours)} { put(4u * index, ${size}u - 4u * index, vec4<f32>()); }`,
  })
}
