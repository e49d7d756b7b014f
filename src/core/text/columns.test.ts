import { describe, expect, test } from 'vitest'
import { fitted, table, widthOf, wrap } from './columns.ts'

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
    expect(wrap('an 80 % interval', 5)).toEqual(['an', '80 %', 'interval'])
    expect(wrap('incomprehensible', 4)).toEqual(['incomprehensible'])
  })

  test('a wide line is broken at spaces or between its parts, and continues below its value', () => {
    expect(fitted('  model  4 layers of width 192, 6 heads\n  run    a\n', 24)).toBe(
      '  model  4 layers of\n         width 192, 6\n         heads\n  run    a\n',
    )
    expect(fitted('  step 10   held-out loss 4.5   1.7 bits per byte   drop 1.2 %', 36)).toBe(
      '  step 10   held-out loss 4.5\n            1.7 bits per byte\n            drop 1.2 %',
    )
    expect(fitted('choir: one two three', 12)).toBe('choir: one\n  two three')
    expect(fitted('         a value without label', 20)).toBe('         a value\n         without\n         label')
  })

  test.each([20, 40, 60])('no part of a line is lost in %d columns, and colours take no room', (columns) => {
    const text = '  \x1b[2mtime\x1b[22m  1m 15s, to step 2,400,   2.46 M tokens in all, and more of it   c_v 0.4'
    const lines = fitted(text, columns).split('\n')
    expect(lines.map(widthOf).filter((width) => width > columns)).toEqual([])
    expect(lines.join(' ').replace(/ +/g, ' ')).toBe(text.replace(/ +/g, ' '))
  })
})
