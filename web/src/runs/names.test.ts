import { expect, it } from 'vitest'
import { nameParts, sharedFolderOf } from './names.ts'

it.each([
  ['short', ['', 'short']],
  ['a-sweep-over-k-and-lr-k2-lr3', ['a-sweep-over-k-and', '-lr-k2-lr3']],
  ['2 top-1 (1.25x), seed 12', ['2 top-1 (1.25x)', ', seed 12']],
  ['top-1, seed 1, lr 0.003', ['top-1', ', seed 1, lr 0.003']],
  ['', ['', '']],
  ['🎉🎉🎉🎉🎉🎉🎉🎉🎉🎉🎉', ['🎉', '🎉🎉🎉🎉🎉🎉🎉🎉🎉🎉']],
])('%s keeps the end that differs between runs', (name, parts) => expect(nameParts(name)).toEqual(parts))

it.each([
  [['a/b/x', 'a/b/y'], 'a/b/'],
  [['a/b/x', 'a/bc/y'], 'a/'],
  [['a/x', 'y'], ''],
  [['a/x'], ''],
  [[], ''],
])('%j share the folder %s', (names, folder) => expect(sharedFolderOf(names)).toBe(folder))
