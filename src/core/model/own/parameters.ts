/** Parameters of a part of the user's own: the checks of what its function `parameters` returns. */
import type { UsageError } from '../../errors.ts'
import type { Shape } from '../../graph/model.ts'
import { joinWords } from '../../text/numbers.ts'
import { OWN_NAME } from '../config/plugin-settings.ts'

interface OwnParameter {
  readonly shape: Shape
  readonly init: string
}

/**
 * @param inits The initial values that are accepted.
 * @param reserved A name that is taken.
 * @param fault The error of the part, with its name.
 * @throws UsageError about the first parameter whose name, shape or initial values are wrong
 */
export function checkParameters(
  all: Readonly<Record<string, OwnParameter>>,
  inits: readonly string[],
  reserved: string,
  fault: (message: string) => UsageError,
): void {
  if (typeof all !== 'object' || all === null) throw fault(`parameters returned ${String(all)} (expected an object)`)
  for (const [key, parameter] of Object.entries(all)) {
    if (!OWN_NAME.test(key) || key === reserved)
      throw fault(`invalid parameter ${JSON.stringify(key)} (expected letters and digits, and not "${reserved}")`)
    const { shape: sizes, init } = parameter ?? {}
    if (!Array.isArray(sizes) || sizes.length === 0 || !sizes.every((size) => Number.isInteger(size) && size > 0))
      throw fault(
        `parameter ${key} has the shape ${JSON.stringify(sizes)} (expected positive integers, [1] for a single number)`,
      )
    if (!inits.includes(init)) {
      const accepted = joinWords(
        inits.map((word) => `"${word}"`),
        'or',
      )
      throw fault(`parameter ${key} has the init ${JSON.stringify(init)} (expected ${accepted})`)
    }
  }
}
