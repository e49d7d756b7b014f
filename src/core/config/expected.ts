/** Plain words for the value that a schema expected. */
import type { z } from 'zod'
import { plural } from '../text/numbers.ts'

const nouns: Readonly<Record<string, string>> = {
  object: 'a group of fields',
  record: 'a group of fields',
  array: 'a list',
  tuple: 'a list',
  string: 'text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
}

/** The beginnings of Zod's own messages. Every other message is written in a schema of ours. */
const byLibrary = /^(Too small|Too big|Invalid input|Invalid key)/

/** The expectation that a value broke, such as `expected a list`; the schema's own message if it has one. */
export function expectationOf(issue: z.core.$ZodIssue): string {
  if (!byLibrary.test(issue.message)) return issue.message
  switch (issue.code) {
    case 'invalid_type':
      return `expected ${nouns[issue.expected] ?? issue.expected}`
    case 'invalid_key':
      return 'expected a name that is not empty'
    case 'too_small': {
      const { origin, minimum, inclusive } = issue
      if (origin === 'string') return 'expected text that is not empty'
      if (origin === 'array') return `expected at least ${plural(Number(minimum), 'entry', 'entries')}`
      return `expected a number ${inclusive ? 'of at least' : 'above'} ${minimum}`
    }
    case 'too_big':
      if (issue.origin === 'string') return `expected text of at most ${plural(Number(issue.maximum), 'character')}`
      return issue.message
    default:
      return issue.message
  }
}
