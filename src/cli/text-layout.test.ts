import { describe, expect, test } from 'vitest'
import { table, widthOf, wrap } from './text-layout.ts'

describe('layout', () => {
  test('colour codes do not shift columns', () => {
    expect(
      table(
        [
          ['a', '1'],
          ['\x1b[1mbbb\x1b[22m', '22'],
        ],
        'lr',
      ).map(widthOf),
    ).toEqual([7, 7])
  })

  test('wrapped lines keep the words and the line breaks', () => {
    expect(wrap('one two three\n\nfour', 8)).toEqual(['one two', 'three', '', 'four'])
    expect(wrap('incomprehensible', 4)).toEqual(['incomprehensible'])
  })
})
