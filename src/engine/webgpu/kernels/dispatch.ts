/** Dispatches whose operands have names. */
import type { Dispatch, Operand, Use } from './contract.ts'

export interface NamedDispatch<Name extends string> extends Omit<Dispatch, 'operands' | 'code'> {
  /** Operands by the names that `code` uses; undefined if absent in this call. */
  readonly operands: Readonly<Record<Name, Operand | Use | undefined>>
  /** @param arrays The name in WGSL of each operand, empty if absent. */
  readonly code: (arrays: Readonly<Record<Name, string>>) => string
}

/**
 * @example
 * ```ts
 * dispatchOf({
 *   name: 'negate',
 *   operands: { x, y },
 *   workgroups: gridOf(x.size),
 *   code: ({ x, y }) => `${linearMain(size)} { ${y}[index] = -${x}[index]; }`,
 * })
 * ```
 */
export function dispatchOf<Name extends string>({ operands, code, ...dispatch }: NamedDispatch<Name>): Dispatch {
  const uses = Object.entries<Operand | Use | undefined>(operands)
  return {
    ...dispatch,
    operands: uses.flatMap(([, use]) => (use === undefined ? [] : 'of' in use ? use : { of: use })),
    code: (names) => {
      const given = names.values()
      const arrays = uses.map(([name, use]) => [name, use ? given.next().value : ''])
      return code(Object.fromEntries(arrays))
    },
  }
}
