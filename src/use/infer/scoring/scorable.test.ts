import { describe, expect, test } from 'vitest'
import { scorable } from './scorable.ts'

test('an item has its own fields only: a field that is undefined is absent', () => {
  const item = { context: '', continuation: 'a', choices: undefined, text: undefined }
  expect(Object.keys(scorable(item, 'item').item)).toEqual(['context', 'continuation'])
  expect(scorable('a', 'item')).toEqual({ item: 'a', name: 'item' })
})

describe('a wrong item is refused with its name, its field and what is accepted', () => {
  test.each<[unknown, RegExp]>([
    [7, /^invalid line 3: 7 \(expected an object with text; context and continuation; or context and choices\)$/],
    ['', /^line 3: invalid text: "" \(it is empty; expected at least one character\)$/],
    [{ txt: 'a' }, /^line 3: unknown field txt: "a" \(accepted: text, context, .*did you mean "text"\?/],
    [{ text: ['a'] }, /^line 3: invalid text: \["a"\] \(expected text\)$/],
    [{ context: 'a', continuation: '' }, /^line 3: invalid continuation: "" \(it is empty/],
    [{ context: 'a', choices: [] }, /^line 3: invalid choices: \[\] \(expected a non-empty list of text\)$/],
    [{ context: 'a', choices: ['b', ''] }, /^line 3: invalid choices.1: "" \(it is empty/],
    [{}, /^invalid line 3: it has no fields/],
    [{ context: 'a' }, /^invalid line 3: it has context \(expected text; context and continuation;/],
    [{ text: 'a', context: 'b' }, /^invalid line 3: it has text, context \(expected/],
    [{ context: 'a', continuation: 'b', choices: ['c'] }, /^invalid line 3: it has context, continuation, choices/],
  ])('%j', (item, message) => expect(() => scorable(item, 'line 3')).toThrow(message))
})
