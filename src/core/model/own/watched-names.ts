/**
 * Values by name that remember which names were asked for in vain: a part of the user's own that misspells one gets
 * undefined, and fails later with a message that does not name it.
 */
import { nearestName } from '../../text/nearest.ts'
import { joinWords } from '../../text/numbers.ts'

class WatchedNames {
  private readonly missing: string[] = []

  /** The values, whose missing names are noted. @param noun What the values are in the part: `weights`. */
  watch<Values extends object>(noun: string, values: Values): Values {
    return new Proxy(values, {
      get: (target, name, receiver) => {
        if (typeof name === 'string' && !(name in target))
          this.missing.push(missingText(noun, name, Object.keys(target)))
        return Reflect.get(target, name, receiver)
      },
    })
  }

  /** The missing names, to be put after the message of an error; empty if there are none. */
  get hint(): string {
    const unique = [...new Set(this.missing)]
    return unique.length === 0 ? '' : ` (${unique.join('; ')})`
  }
}

/**
 * A function that runs a part of the user's own. What the part throws becomes an error that names the function of the
 * part, and the names that it asked for in vain.
 * @param fault Makes an error of a message.
 */
export const attemptIn =
  (fault: (message: string) => Error) =>
  <Result>(name: string, run: (names: WatchedNames) => Result): Result => {
    const names = new WatchedNames()
    try {
      return run(names)
    } catch (error) {
      throw fault(`${name}: ${error instanceof Error ? error.message : String(error)}${names.hint}`)
    }
  }

function missingText(noun: string, name: string, names: readonly string[]): string {
  const near = nearestName(name, names)
  const known = names.length === 0 ? `${noun} has no names` : `it has ${joinWords(names)}`
  return `${noun} has no "${name}": ${known}${near === undefined ? '' : `; did you mean "${near}"?`}`
}
