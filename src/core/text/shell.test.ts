import { execFileSync } from 'node:child_process'
import { array, assert, constantFrom, property, string } from 'fast-check'
import { expect, test } from 'vitest'
import { commandLine, quoted } from './shell.ts'

test.each([
  ['runs/demo', 'runs/demo'],
  ['model.moe.k=2', 'model.moe.k=2'],
  ['', "''"],
  ['my runs', "'my runs'"],
  ['$HOME', "'$HOME'"],
  ["it's $HOME", `'it'\\''s $HOME'`],
  ['C:\\runs', "'C:\\runs'"],
  ['~', "'~'"],
])('quoted(%j) is %s', (word, text) => {
  expect(quoted(word)).toBe(text)
})

test.skipIf(process.platform === 'win32')('a shell reads back the same words, whatever is in them', () => {
  const piece = constantFrom("'", '"', '$', '`', '\\', ' ', '\n', '!', '*', '~', '#', '=', '-', '(', ';', 'a', 'é')
  const words = array(
    array(piece, { maxLength: 8 }).map((pieces) => pieces.join('')),
    { maxLength: 4 },
  )
  const texts = array(
    string({ maxLength: 8 }).map((text) => text.replaceAll('\0', '')),
    { maxLength: 2 },
  )
  assert(
    property(words, texts, (some, others) => {
      const all = [...some, ...others]
      const printed = execFileSync('sh', ['-c', `printf '%s\\0' x ${commandLine(all)}`], { encoding: 'utf8' })
      expect(printed.split('\0').slice(1, -1)).toEqual(all)
    }),
    { numRuns: 60 },
  )
})
