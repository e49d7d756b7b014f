import { describe, expect, test } from 'vitest'
import { main } from './program/main.ts'
import { removed, withRemoval } from './removed.ts'
import { fakeIo } from './testing/fake.ts'

describe('commands and options that went', () => {
  test('are refused as wrong usage, with what to use instead', async () => {
    for (const [words, instead] of Object.entries(removed)) {
      const fake = fakeIo()
      expect(await main(words.split(' '), fake.io), words).toBe(2)
      expect(fake.stderr.text, words).toContain(`choir: choir ${words} was removed: ${instead}\n`)
      expect(fake.calls).toEqual([])
    }
  })

  test.each([
    [['train', 'tiny', '--old'], "error: unknown option '--old'\n(Did you mean --out?)\n"],
    [['--verbose', 'train', '--old=3'], "error: unknown option '--old=3'\n"],
  ])('%j names the replacement of the option, of this command alone', (args, message) => {
    expect(withRemoval(message, args, { 'train --old': 'use --new' })).toBe(
      'error: choir train --old was removed: use --new\n',
    )
    expect(withRemoval(message, args, { 'plan --old': 'use --new' })).toBe(message)
  })

  test('a command names its replacement', () => {
    const message = "error: unknown command 'old'\n"
    expect(withRemoval(message, ['old'], { old: 'use choir new' })).toBe(
      'error: choir old was removed: use choir new\n',
    )
  })
})
