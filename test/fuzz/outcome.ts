/**
 * The judge of fuzzing: whatever a user writes, a command ends with exit code 0, 1, 2 or 130, and a failure with a
 * message for people.
 */

import { RunError, UsageError } from '../../src/core/errors.ts'
import { formatError } from '../../src/faces/cli/format-error.ts'
import type { Operations } from '../../src/faces/cli/operations.ts'
import { main } from '../../src/faces/cli/program/main.ts'
import { fakeIo } from '../../src/faces/cli/testing/fake.ts'
import { errorCode } from '../../src/node/system/disk.ts'

export interface Outcome {
  readonly code: number
  /** Text on standard error. */
  readonly stderr: string
}

/** Words of the JavaScript engine, of our own mistakes and of stack traces, which are no messages for people. */
const raw =
  /Cannot (read|set|convert|destructure|mix|access)|is not (a function|iterable|defined|a constructor)|Invalid (array|string|typed array|Date|count)|Maximum call stack|call stack|Unexpected (token|end|non-whitespace)|Expected (property|double|',')|Bad (control|escaped)|circular structure|ERR_[A-Z]|Array buffer|out of bounds|Assertion failed|panicked|internal:|\[object |\n +at /

/** Most characters that a person reads in messages. */
const MAX_CHARACTERS = 20_000

/** The reason why no user should see an outcome; null if it is sound. */
export function faultOf({ code, stderr }: Outcome): string | null {
  if (![0, 1, 2, 130].includes(code)) return `exit code ${code}`
  const words = raw.exec(stderr)?.[0]
  if (words !== undefined) return `raw words, ${words}, in: ${stderr.slice(0, 1000)}`
  if (code !== 0 && code !== 130 && !/\S/.test(stderr)) return `exit code ${code} without a message`
  if (stderr.length > MAX_CHARACTERS) return `${stderr.length} characters of messages`
  return null
}

/** The outcome that the command line would give for some work. */
export async function outcomeOf(work: () => unknown): Promise<Outcome> {
  try {
    await work()
    return { code: 0, stderr: '' }
  } catch (error) {
    const isKnown = error instanceof UsageError || error instanceof RunError || errorCode(error)?.startsWith('E')
    const message = formatError(error, false)
    return { code: error instanceof UsageError ? 2 : 1, stderr: isKnown ? message : `internal: ${message}` }
  }
}

/**
 * The outcome of a command line with fake operations, in this process. A page that is served is closed by Ctrl-C.
 */
export async function outcomeOfCommand(
  args: readonly string[],
  operations: Partial<Operations> = {},
): Promise<Outcome> {
  const serve = async () => {
    setTimeout(() => fake.interrupt(), 1)
    return { address: 'http://127.0.0.1:6007/', models: [], close: async () => {} }
  }
  const fake = fakeIo({ operations: { watch: serve, play: serve, serve, ...operations } })
  return { code: await main(args, fake.io), stderr: fake.stderr.text }
}
