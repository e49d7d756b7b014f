/** Messages that name options: in the library's words, and with the names that a caller gives. */
import { inspect } from 'node:util'
import { expect, test } from 'vitest'
import { option, RunError, textOf, UsageError, wording } from './errors.ts'

const message = wording`invalid ${option('whatIf')}: ${8} (${wording`use ${option('format', 'hf')}, or leave ${option('whatIf')} out`})`

test('a message names options as the library does', () => {
  for (const Kind of [UsageError, RunError])
    expect(new Kind(message).message).toBe('invalid whatIf: 8 (use format=hf, or leave whatIf out)')
})

test('every option of a message gets the name that a caller gives it, and no other word changes', () => {
  const error = new UsageError(wording`${message}: whatIf`)
  const names = ({ option, value }: { option: string; value?: string }) => `<${option}${value ? ` ${value}` : ''}>`
  expect(textOf(error.wording, names)).toBe('invalid <whatIf>: 8 (use <format hf>, or leave <whatIf> out): whatIf')
  expect(textOf(new RunError('a whatIf').wording, names)).toBe('a whatIf')
})

test('a message survives JSON, and an inspected error shows its text alone', () => {
  const error = new UsageError(message)
  expect(textOf(JSON.parse(JSON.stringify(error.wording)))).toBe(error.message)
  expect(inspect(error)).not.toContain('wording')
})
