/** Dispatches whose operands have names. */
import type { Dispatch, Use } from '../contract.ts'

export interface NamedDispatch<Name extends string> extends Pick<Dispatch, 'name' | 'workgroups'> {
  /** By the names that `code` uses; undefined = absent in this call. */
  readonly operands: Readonly<Record<Name, Use | undefined>>
  /** @param arrays The name in WGSL of each operand, empty if absent. */
  readonly code: (arrays: Readonly<Record<Name, string>>) => string
}

/**
 * @example
 * ```ts
 * dispatchOf({
 *   name: 'negate',
 *   operands: { x: { input: 0 }, y: { output: 0 } },
 *   workgroups: gridOf(size),
 *   code: ({ x, y }) => `${linearMain(size)} { ${y}[index] = -${x}[index]; }`,
 * })
 * ```
 */
export function dispatchOf<Name extends string>(dispatch: NamedDispatch<Name>): Dispatch {
  const { name, workgroups, operands, code } = dispatch
  const uses = Object.entries(operands) as [Name, Use | undefined][]
  return {
    name,
    workgroups,
    operands: uses.flatMap(([, use]) => use ?? []),
    code: (names) => {
      const given = names.values()
      const arrays = uses.map(([name, use]) => [name, use ? given.next().value : ''])
      return code(Object.fromEntries(arrays))
    },
  }
}
