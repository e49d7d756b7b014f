/**
 * Errors that a user can cause. The message names the field, the value given, what is accepted and
 * what to do; the command line prints it without a stack trace.
 *
 * A message names the options of a call as the library does, and keeps them apart from its other words, so that the
 * command line can show its flags: `wording` and `option` below.
 */

/**
 * An option of a call, or the path of a setting, as part of a message; `value` is a value that the user may give it.
 */
export interface Option {
  readonly option: string
  readonly value?: string
}

/** A message in parts. It is plain data, which survives JSON. */
export type Wording = readonly (string | Option)[]

/**
 * An option as part of a message. `wording`\``invalid ${option('sequence')}: 8`\`` reads *invalid sequence: 8*, and on
 * the command line *invalid --sequence: 8*.
 */
export const option = (name: string, value?: string): Option => ({
  option: name,
  ...(value !== undefined && { value }),
})

export const wording = (
  texts: TemplateStringsArray,
  ...values: readonly (string | number | Option | Wording)[]
): Wording =>
  texts.flatMap((text, i): Wording => {
    const value = values[i] ?? ''
    if (typeof value !== 'object') return [`${text}${value}`]
    return 'option' in value ? [text, value] : [text, ...value]
  })

/** The text of a message, in which `nameOf` names the options. */
export const textOf = (message: Wording, nameOf: (option: Option) => string = nameInLibrary): string =>
  message.map((part) => (typeof part === 'string' ? part : nameOf(part))).join('')

const nameInLibrary = ({ option, value }: Option): string => (value === undefined ? option : `${option}=${value}`)

class UserError extends Error {
  /** The message in parts. It is not enumerable, so that an inspected error shows its message only. */
  declare readonly wording: Wording

  constructor(message: string | Wording, options?: ErrorOptions) {
    const parts = typeof message === 'string' ? [message] : message
    super(textOf(parts), options)
    Object.defineProperty(this, 'wording', { value: parts })
  }
}

/** The request itself is impossible or misspelt: exit code 2. */
export class UsageError extends UserError {
  override readonly name: string = 'UsageError'
}

/** The request is valid but could not be carried out (a full disk, a corrupt file): exit code 1. */
export class RunError extends UserError {
  override readonly name: string = 'RunError'

  /**
   * Whether the error follows from what a run computes. Runs are reproducible, so the same run, from the same
   * checkpoint, fails in the same way again.
   */
  readonly isComputed: boolean = false
}
